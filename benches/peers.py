#!/usr/bin/env python3
"""Loads a running Ringfort with the scenarios that other servers were measured with, and prints one table.

  peers.py [--quick] [--step start|register|call|rtp|memory|flood ...]

Wants the folder of load scenarios (RINGFORT_BENCH_PEERS, or ../shared/bench/peers beside the checkout), SIPp, a C
compiler and taskset. The server runs on SERVER_CPU (0), every generator on LOAD_CPU (1). Callers prove themselves by
digest, and the called side is a registered extension. Results also go to RESULTS/*.jsonl below the scratch folder.
"""
import argparse
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PEERS = os.environ.get("RINGFORT_BENCH_PEERS") or os.path.join(ROOT, "..", "shared", "bench", "peers")
HOST, PORT = "127.0.0.1", 5060
UAS = ("127.0.0.3", 5070)
SERVER_CPU = os.environ.get("SERVER_CPU", "0")
LOAD_CPU = os.environ.get("LOAD_CPU", "1")


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


class Place:
    """A data folder with users and called extensions, and the server that runs on it."""

    def __init__(self, binary, users, called):
        self.binary, self.users, self.called = binary, users, called
        self.dir = tempfile.mkdtemp(prefix="ringfort-bench-")
        self.data = os.path.join(self.dir, "data")
        self.server = None
        self.passwords = [secrets.token_urlsafe(24) for _ in range(users)]
        self.called_passwords = [secrets.token_urlsafe(24) for _ in range(called + 1)]
        self._configure()

    def _configure(self):
        os.makedirs(os.path.join(self.dir, "users"))
        with open(os.path.join(self.dir, "ringfort.toml"), "w") as f:
            f.write(
                f'domains = ["{HOST}"]\n\n[[profile]]\nname = "phones"\nkind = "internal"\n'
                f'listen = ["udp:{HOST}:{PORT}"]\ndigest = ["MD5"]\n\n'
                f'[media]\naddress = "{HOST}"\nports = "10000-20000"\n\n[log]\nlevel = "warn"\n'
            )
        with open(os.path.join(self.dir, "site.toml"), "w") as f:
            for i, password in enumerate(self.passwords):
                f.write(f'[[extension]]\nnumber = "7{i:05d}"\nsip_user = "u{i:05d}"\nsip_password = "{password}"\nmax_calls = 10000\n')
            for i, password in enumerate(self.called_passwords):
                f.write(
                    f'[[extension]]\nnumber = "{self.number(i)}"\nsip_user = "callee-{chr(97 + i % 26)}{i:x}z"\n'
                    f'sip_password = "{password}"\nmax_calls = 100000\n'
                )
        with open(os.path.join(self.dir, "users", "users.csv"), "w") as f:
            f.write("SEQUENTIAL\n")
            for i, password in enumerate(self.passwords):
                f.write(f"u{i:05d};[authentication username=u{i:05d} password={password}];\n")
        self.run("apply", "-f", os.path.join(self.dir, "site.toml"))

    def number(self, i):
        """Called numbers: 9000 for SIPp, then 900000, 900001, … as `sipcalls.py` dials them."""
        return "9000" if i == self.called else f"9{i:05d}"

    def run(self, *words):
        command = [self.binary, *words, "--data", self.data]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.dir)

    def command(self):
        return [self.binary, "run", "--config", os.path.join(self.dir, "ringfort.toml"), "--data", self.data]

    def env(self):
        return dict(
            os.environ, BENCH_RUN=self.dir, HOST=HOST, PORT=str(PORT), DOMAIN=HOST, CALLED="9000",
            SERVER_CPU=SERVER_CPU, LOAD_CPU=LOAD_CPU, RTPLOAD=os.path.join(self.dir, "rtpload"),
        )

    def start(self):
        log = open(os.path.join(self.dir, "server.log"), "ab")
        self.server = subprocess.Popen(
            ["taskset", "-c", SERVER_CPU, *self.command()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )
        deadline = time.monotonic() + 20
        while not answers_options():
            if self.server.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the server does not answer: see {self.dir}/server.log")
            time.sleep(0.01)
        return self.server.pid

    def stop(self):
        if self.server and self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
            try:
                self.server.wait(20)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()
        self.server = None

    def register_called(self):
        """Registers every called extension at the called side's address."""
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(UAS)
        s.settimeout(2)
        for i, password in enumerate(self.called_passwords):
            user = f"callee-{chr(97 + i % 26)}{i:x}z"
            auth = ""
            for cseq in (1, 2):
                s.sendto(
                    (f"REGISTER sip:{HOST} SIP/2.0\r\nVia: SIP/2.0/UDP {UAS[0]}:{UAS[1]};branch=z9hG4bKc{i}x{cseq};rport\r\n"
                     f"Max-Forwards: 70\r\nFrom: <sip:{user}@{HOST}>;tag=c{i}\r\nTo: <sip:{user}@{HOST}>\r\nCall-ID: c{i}@called\r\n"
                     f"CSeq: {cseq} REGISTER\r\nContact: <sip:{user}@{UAS[0]}:{UAS[1]}>\r\nExpires: 7200\r\n{auth}"
                     "Content-Length: 0\r\n\r\n").encode(), (HOST, PORT))
                answer = s.recv(4096).decode()
                if answer.startswith("SIP/2.0 200"):
                    break
                field = dict(re.findall(r'(\w+)="?([^",\r]+)"?', re.search(r"WWW-Authenticate: Digest (.*)", answer).group(1)))
                ha1, ha2 = md5(f"{user}:{field['realm']}:{password}"), md5(f"REGISTER:sip:{HOST}")
                response = md5(f"{ha1}:{field['nonce']}:00000001:abc:auth:{ha2}")
                auth = (f'Authorization: Digest username="{user}", realm="{field["realm"]}", nonce="{field["nonce"]}", '
                        f'uri="sip:{HOST}", response="{response}", algorithm=MD5, qop=auth, nc=00000001, cnonce="abc"'
                        + (f', opaque="{field["opaque"]}"' if "opaque" in field else "") + "\r\n")
            else:
                sys.exit(f"extension {self.number(i)} could not register: {answer.splitlines()[0]}")
        s.close()

    def tool(self, name, *words):
        """Runs one of the load tools and gives the JSON lines that it printed."""
        command = [sys.executable, os.path.join(PEERS, name), *map(str, words)]
        done = subprocess.run(command, env=self.env(), capture_output=True, text=True, cwd=self.dir)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if not lines:
            print(done.stderr[-800:], file=sys.stderr)
        with open(os.path.join(self.dir, "results.jsonl"), "a") as f:
            for line in lines:
                f.write(json.dumps(dict(tool=name, words=list(map(str, words)), **line)) + "\n")
        return lines


def answers_options():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(0.2)
    s.bind(("127.0.0.9", 0))
    at = f"127.0.0.9:{s.getsockname()[1]}"
    tag = secrets.token_hex(6)
    try:
        s.sendto((f"OPTIONS sip:{HOST} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{tag};rport\r\nMax-Forwards: 70\r\n"
                  f"From: <sip:x@{HOST}>;tag={tag}\r\nTo: <sip:{HOST}>\r\nCall-ID: {tag}\r\nCSeq: 1 OPTIONS\r\n"
                  f"Contact: <sip:x@{at}>\r\nContent-Length: 0\r\n\r\n").encode(), (HOST, PORT))
        return s.recv(2048).startswith(b"SIP/2.0 200")
    except OSError:
        return False
    finally:
        s.close()


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def step_start(place, quick):
    lines = place.tool("bench.py", "start", "--cmd", " ".join(place.command()), "--repeat", 1 if quick else 3)
    yield "exec to first OPTIONS answered, ms", median([x.get("ready_ms") for x in lines]), "≤ 50"
    yield "idle memory, MiB", round((median([x.get("pss_tree_kib") for x in lines]) or 0) / 1024, 1), "≤ 30"


def step_register(place, quick):
    pid = place.start()
    try:
        rate = 2000 if quick else 8000
        lines = place.tool("bench.py", "register", "--pid", pid, "--rate", rate, "--seconds", 4 if quick else 10, "--repeat", 1 if quick else 3)
        yield f"one digest registration at {rate}/s, CPU ms", median([x.get("cpu_ms_each") for x in lines]), "≤ 0.039"
        yield "  failed, %", median([x.get("failed_pct") for x in lines]), "< 0.1"
        yield "  generator's core, %", median([x.get("generator_cpu_pct") for x in lines]), ""
        if not quick:
            lines = place.tool("bench.py", "max", "--what", "register", "--pid", pid, "--rate", 8000, "--limit", 40000)
            yield "registrations/s held on one core", lines[-1].get("max_rate") if lines else None, "≥ 24000"
    finally:
        place.stop()


def step_call(place, quick):
    pid = place.start()
    try:
        place.register_called()
        rate = 200 if quick else 1000
        lines = place.tool("bench.py", "call", "--pid", pid, "--rate", rate, "--seconds", 4 if quick else 10, "--uac", "uac_auth", "--repeat", 1 if quick else 3)
        yield f"one call INVITE…BYE with digest at {rate}/s, CPU ms", median([x.get("cpu_ms_each") for x in lines]), "≤ 0.40"
        yield "  failed, %", median([x.get("failed_pct") for x in lines]), "< 0.1"
        if not quick:
            lines = place.tool("bench.py", "max", "--what", "call", "--pid", pid, "--rate", 1000, "--limit", 6000, "--uac", "uac_auth")
            yield "calls/s held on one core", lines[-1].get("max_rate") if lines else None, "≥ 2500"
    finally:
        place.stop()


def step_rtp(place, quick):
    for calls in ([50] if quick else [100, 400, 1000, 1500]):
        results = []
        for _ in range(1 if quick else 3 if calls <= 400 else 1):
            pid = place.start()
            try:
                place.register_called()
                results += place.tool(
                    "sipcalls.py", "--pid", pid, "--calls", calls, "--seconds", 4 if quick else 10, "--cps", 200,
                    "--user", "u00000", "--password", place.passwords[0],
                )
            finally:
                place.stop()
        yield f"{calls} relayed calls: up", median([x.get("up") for x in results]), calls
        yield "  CPU of a core per 100 calls, %", median([x.get("cpu_pct_per_100_calls") for x in results]), "≤ 4 at 400"
        yield "  lost, %", median([x.get("loss_pct") for x in results]), ""
        yield "  p99 delay, ms", median([x.get("delay_ms_p99") for x in results]), "≤ 20"
        yield "  memory per call, KiB", median([x.get("kib_per_call") for x in results]), "≤ 20"


def step_memory(place, quick):
    lines = place.tool("bench.py", "memreg", "--cmd", " ".join(place.command()), "--rate", 1000)
    yield "memory per registration, bytes", median([x.get("bytes_per_user") for x in lines]), "≤ 1200"


def step_flood(place, quick):
    pid = place.start()
    try:
        for scenario in ("flood_invite", "flood_register"):
            lines = place.tool("bench.py", "flood", "--pid", pid, "--scenario", scenario, "--sources", 200, "--repeat", 1)
            yield f"one hostile request ({scenario}), CPU µs", median([1000 * x["cpu_ms_per_hostile"] for x in lines if "cpu_ms_per_hostile" in x]), "≤ 8"
    finally:
        place.stop()


STEPS = {"start": step_start, "register": step_register, "call": step_call, "rtp": step_rtp, "memory": step_memory, "flood": step_flood}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.environ.get("RINGFORT_BIN"), help="the program to measure (release build)")
    parser.add_argument("--quick", action="store_true", help="one short run of each")
    parser.add_argument("--step", action="append", choices=list(STEPS))
    parser.add_argument("--keep", action="store_true", help="keep the scratch folder")
    args = parser.parse_args()
    if not os.path.isdir(PEERS):
        sys.exit(f"no load scenarios at {PEERS}: set RINGFORT_BENCH_PEERS to the folder that has bench.py")
    for program in ("sipp", "taskset", "cc"):
        if not shutil.which(program):
            sys.exit(f"{program} is missing: `make setup` installs it")
    if answers_options():
        sys.exit(f"something answers SIP on {HOST}:{PORT} already: stop it first")
    place = Place(args.binary, 200 if args.quick else 10_000, 60 if args.quick else 1500)
    subprocess.run(["cc", "-O2", "-o", os.path.join(place.dir, "rtpload"), os.path.join(PEERS, "tools", "rtpload.c")], check=True)
    print(f"| work | measured | bar |\n| --- | --- | --- |", flush=True)
    try:
        for step in args.step or STEPS:
            for what, value, bar in STEPS[step](place, args.quick):
                print(f"| {what} | {value} | {bar} |", flush=True)
    finally:
        place.stop()
        if args.keep:
            print(f"kept: {place.dir}")
        else:
            shutil.rmtree(place.dir, ignore_errors=True)


if __name__ == "__main__":
    main()
