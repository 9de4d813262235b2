"""The servers that `peers.py` measures: how each is configured, started, and what runs against it."""
import contextlib
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
PEERS = os.path.abspath(os.environ.get("RINGFORT_BENCH_PEERS") or os.path.join(ROOT, "..", "shared", "bench", "peers"))
HOST, PORT = "127.0.0.1", 5060
UAS = ("127.0.0.3", 5070)
UAC_PORT = 5062
# The peers' configurations take calls from this address without digest.
TRUSTED, UNTRUSTED = "127.0.0.2", "127.0.0.99"
# Ringfort knows a provider by its address, on a listener for providers.
PROVIDER, PROVIDERS_PORT = "127.0.0.98", 5064
SERVER_CPU = os.environ.get("SERVER_CPU", "0")
LOAD_CPU = os.environ.get("LOAD_CPU", "1")
NICE = os.environ.get("NICE", "0")


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


def answers_options(source="127.0.0.9"):
    """Does anything answer OPTIONS, whatever it says?"""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(0.2)
    s.bind((source, 0))
    at = f"{source}:{s.getsockname()[1]}"
    tag = secrets.token_hex(6)
    try:
        s.sendto((f"OPTIONS sip:{HOST} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{tag};rport\r\nMax-Forwards: 70\r\n"
                  f"From: <sip:x@{HOST}>;tag={tag}\r\nTo: <sip:{HOST}>\r\nCall-ID: {tag}\r\nCSeq: 1 OPTIONS\r\n"
                  f"Contact: <sip:x@{at}>\r\nContent-Length: 0\r\n\r\n").encode(), (HOST, PORT))
        return s.recv(2048).startswith(b"SIP/2.0 ")
    except OSError:
        return False
    finally:
        s.close()


def answer_times(number, real, invented, password):
    """Median microseconds to the 401 for REGISTERs of two users in turn, the second credentials for each answered with
    `password` where there is one."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.5", 0))
    s.settimeout(2)
    at, run = f"127.0.0.5:{s.getsockname()[1]}", secrets.token_hex(4)
    times = {real: [], invented: []}

    def ask(user, serial, auth=""):
        message = (
            f"REGISTER sip:{HOST} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{run}{serial};rport\r\nMax-Forwards: 70\r\n"
            f"From: <sip:{user}@{HOST}>;tag={run}\r\nTo: <sip:{user}@{HOST}>\r\nCall-ID: {run}{serial}\r\nCSeq: 1 REGISTER\r\n"
            f"Contact: <sip:{user}@{at}>\r\nExpires: 60\r\n{auth}Content-Length: 0\r\n\r\n").encode()
        start = time.perf_counter_ns()
        s.sendto(message, (HOST, PORT))
        answer = s.recv(4096)
        took = (time.perf_counter_ns() - start) / 1000
        if not answer.startswith(b"SIP/2.0 401"):
            sys.exit(f"expected 401, got {answer[:60]!r}")
        return answer.decode(), took

    for turn in range(number):
        for user in (real, invented) if turn % 2 else (invented, real):
            answer, took = ask(user, f"{user}{turn}a")
            if password:
                field = dict(re.findall(r'(\w+)="([^"]*)"', answer))
                ha1, ha2 = md5(f"{user}:{field['realm']}:{password}"), md5(f"REGISTER:sip:{HOST}")
                response = md5(f"{ha1}:{field['nonce']}:00000001:abc:auth:{ha2}")
                _, took = ask(user, f"{user}{turn}b", (
                    f'Authorization: Digest username="{user}", realm="{field["realm"]}", nonce="{field["nonce"]}", uri="sip:{HOST}", '
                    f'response="{response}", algorithm=MD5, qop=auth, nc=00000001, cnonce="abc", opaque="{field.get("opaque", "")}"\r\n'))
            times[user].append(took)
    s.close()
    return statistics.median(times[real]), statistics.median(times[invented])


class Server:
    """One server, its scratch folder, and the load tools that run against it."""

    name = ""
    # Calls: with digest (`uac_auth`), or from an address that is known (`uac`).
    call_scenarios = ("uac", "uac_auth")
    known, known_port = TRUSTED, PORT
    # Until the server answers at all, in seconds: some read their users for long.
    patience = 20
    # What is within its reach: registrations and calls a second, and where the search for the highest begins; calls with media.
    register_rates, call_rates, relayed = (4000, 16000), (500, 1500), (100, 400, 1000, 1500)
    first_register_rate, first_call_rate, memory_rate = 16000, 1500, 1000
    # Values for `running`: False is the plain server, True the one with its rate limit on.
    flood_variants = (False, True)

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix=f"ringfort-bench-{self.name}-")
        self.process = None
        self.rtpload = os.path.join(self.dir, "rtpload")
        subprocess.run(["cc", "-O2", "-o", self.rtpload, os.path.join(PEERS, "tools", "rtpload.c")], check=True)

    def command(self):
        raise NotImplementedError

    def prepare(self, limited):
        """Writes the configuration, with the rate limit in front or without."""

    def fresh(self):
        """Forgets every registration."""

    def ready(self):
        return answers_options()

    def register_called(self):
        """Makes the called side known, where the server needs that."""

    def env(self, source=TRUSTED, port=PORT):
        return dict(
            os.environ, BENCH_RUN=self.dir, HOST=HOST, PORT=str(port), DOMAIN=HOST, CALLED="9000", NICE=NICE,
            SERVER_CPU=SERVER_CPU, LOAD_CPU=LOAD_CPU, RTPLOAD=self.rtpload, UAC_IP=source,
        )

    @contextlib.contextmanager
    def running(self, limited=False):
        self.prepare(limited)
        log = open(os.path.join(self.dir, "server.log"), "ab")
        self.process = subprocess.Popen(
            ["nice", "-n", NICE, "taskset", "-c", SERVER_CPU, *self.command().split()],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )
        try:
            deadline = time.monotonic() + self.patience
            while not self.ready():
                if self.process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"{self.name} does not answer: see {self.dir}/server.log")
                time.sleep(0.02)
            time.sleep(0.5)
            yield self.process.pid
        finally:
            self.stop()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.process = None

    def tool(self, script, *words, source=UNTRUSTED, port=PORT):
        """Runs one of the load tools, whose calls come from `source`, and gives the JSON lines that it printed."""
        command = [sys.executable, os.path.join(PEERS, script), *map(str, words)]
        done = subprocess.run(command, env=self.env(source, port), capture_output=True, text=True, cwd=self.dir)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if not lines:
            print(f"{self.name}: {script} {' '.join(map(str, words))} gave nothing: {done.stderr[-800:]}", file=sys.stderr)
        with open(os.path.join(self.dir, "results.jsonl"), "a") as f:
            for line in lines:
                f.write(json.dumps(dict(tool=script, words=list(map(str, words)), **line)) + "\n")
        return lines

    def relay(self, pid, calls, seconds):
        """So many calls with media through the server: the load tool's JSON lines."""
        raise NotImplementedError


class Ringfort(Server):
    """Users and called extensions in a data folder of its own."""

    name = "ringfort"
    known, known_port = PROVIDER, PROVIDERS_PORT

    def __init__(self, binary, users, called):
        super().__init__()
        self.binary, self.called = binary, called
        # Made by `cargo build --examples` beside the program.
        self.storm = os.path.join(os.path.dirname(os.path.abspath(binary)), "examples", "storm")
        self.data = os.path.join(self.dir, "data")
        # Not `0x…` by chance: SIPp reads that as a number.
        password = lambda _: "p" + secrets.token_urlsafe(24)  # noqa: E731
        self.passwords = list(map(password, range(users)))
        self.called_passwords = list(map(password, range(called + 1)))
        self.prepare(False)
        self._make_site()

    def prepare(self, limited):
        # Every address of the load but the flood's is named; those are limited like any stranger, whatever they are.
        guard = {
            False: "",
            True: '\n[guard]\nloopback = "1/s burst 2"\nunlimited = ["127.0.0.2", "127.0.0.3", "127.0.0.9"]\n',
            # As the rest of the world is seen: strangers, and phones that are registered.
            "world": '\n[guard]\nloopback = "60/s burst 120"\nunlimited = ["127.0.0.9"]\nnever_banned = []\n',
        }[limited]
        with open(os.path.join(self.dir, "ringfort.toml"), "w") as f:
            f.write(
                f'domains = ["{HOST}"]\n\n[[profile]]\nname = "phones"\nkind = "internal"\n'
                f'listen = ["udp:{HOST}:{PORT}"]\ndigest = ["MD5"]\n\n'
                f'[[profile]]\nname = "providers"\nkind = "external"\nlisten = ["udp:{HOST}:{PROVIDERS_PORT}"]\n\n'
                f'[media]\naddress = "{HOST}"\nports = "10000-20000"\n\n[log]\nlevel = "warn"\n{guard}'
            )

    def _make_site(self):
        os.makedirs(os.path.join(self.dir, "users"))
        site = os.path.join(self.dir, "site.toml")
        with open(site, "w") as f:
            for i, password in enumerate(self.passwords):
                f.write(f'[[extension]]\nnumber = "7{i:05d}"\nsip_user = "u{i:05d}"\nsip_password = "{password}"\nmax_calls = 10000\n')
            for i, password in enumerate(self.called_passwords):
                f.write(
                    f'[[extension]]\nnumber = "{self.number(i)}"\nsip_user = "{self.called_user(i)}"\n'
                    f'sip_password = "{password}"\nmax_calls = 100000\n'
                )
            f.write(
                f'[[trunk]]\nname = "known"\nserver = "sip:{PROVIDER}:{UAC_PORT}"\nprofile = "providers"\nhealth_every = "0s"\nmax_calls = 100000\n'
                '[[inbound]]\nname = "known"\ntrunk = "known"\ncalled = "any"\nto = "extension 9000"\n'
            )
        with open(os.path.join(self.dir, "users", "users.csv"), "w") as f:
            f.write("SEQUENTIAL\n")
            for i, password in enumerate(self.passwords):
                f.write(f"u{i:05d};[authentication username=u{i:05d} password={password}];\n")
        command = [self.binary, "apply", "-f", site, "--data", self.data]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.dir)
        shutil.copytree(self.data, f"{self.data}.new")

    def fresh(self):
        shutil.rmtree(self.data)
        shutil.copytree(f"{self.data}.new", self.data)

    def number(self, i):
        """Called numbers: 9000 for SIPp, then 900000, 900001, … as `sipcalls.py` dials them."""
        return "9000" if i == self.called else f"9{i:05d}"

    @staticmethod
    def called_user(i):
        return f"callee-{chr(97 + i % 26)}{i:x}z"

    def guard_status(self):
        done = subprocess.run([self.binary, "ctl", "guard", "status", "--json", "--data", self.data], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def command(self):
        return f"{self.binary} run --config {self.dir}/ringfort.toml --data {self.data}"

    def register_called(self):
        """Registers every called extension at the called side's address."""
        users = [(self.called_user(i), password) for i, password in enumerate(self.called_passwords)]
        self.register_at(UAS, users)

    def register_at(self, place, users):
        """Registers users, each with its password, at one address."""
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(place)
        s.settimeout(2)
        # The bindings of the run before are still there: the same Call-ID would have to count on (RFC 3261 §10.3).
        run = secrets.token_hex(4)
        for i, (user, password) in enumerate(users):
            auth = ""
            for cseq in (1, 2):
                s.sendto(
                    (f"REGISTER sip:{HOST} SIP/2.0\r\nVia: SIP/2.0/UDP {place[0]}:{place[1]};branch=z9hG4bKc{i}x{cseq};rport\r\n"
                     f"Max-Forwards: 70\r\nFrom: <sip:{user}@{HOST}>;tag=c{i}\r\nTo: <sip:{user}@{HOST}>\r\nCall-ID: c{i}-{run}@called\r\n"
                     f"CSeq: {cseq} REGISTER\r\nContact: <sip:{user}@{place[0]}:{place[1]}>\r\nExpires: 7200\r\n{auth}"
                     "Content-Length: 0\r\n\r\n").encode(), (HOST, PORT))
                # Keep-alives to bindings of the run before come in between.
                answer = ""
                while f"branch=z9hG4bKc{i}x{cseq};" not in answer:
                    answer = s.recv(4096).decode()
                if answer.startswith("SIP/2.0 200"):
                    break
                if "WWW-Authenticate" not in answer:
                    sys.exit(f"{user} got {answer!r}")
                field = dict(re.findall(r'(\w+)="?([^",\r]+)"?', re.search(r"WWW-Authenticate: Digest (.*)", answer).group(1)))
                ha1, ha2 = md5(f"{user}:{field['realm']}:{password}"), md5(f"REGISTER:sip:{HOST}")
                response = md5(f"{ha1}:{field['nonce']}:00000001:abc:auth:{ha2}")
                auth = (f'Authorization: Digest username="{user}", realm="{field["realm"]}", nonce="{field["nonce"]}", '
                        f'uri="sip:{HOST}", response="{response}", algorithm=MD5, qop=auth, nc=00000001, cnonce="abc"'
                        + (f', opaque="{field["opaque"]}"' if "opaque" in field else "") + "\r\n")
            else:
                sys.exit(f"{user} could not register: {answer.splitlines()[0]}")
        s.close()

    def relay(self, pid, calls, seconds):
        return self.tool("sipcalls.py", "--pid", pid, "--calls", calls, "--seconds", seconds, "--cps", 200,
                         "--user", "u00000", "--password", self.passwords[0], source=TRUSTED)


class Peer(Server):
    """A server of others, configured by the scenarios' own script."""

    def __init__(self):
        super().__init__()
        self._users()
        self.prepare(False)

    def _users(self):
        users = [sys.executable, os.path.join(PEERS, "tools", "gen_users.py"), os.path.join(self.dir, "users"), "10000"]
        subprocess.run(users, check=True, stdout=subprocess.DEVNULL)

    def prepare(self, limited):
        self._peer_script("prepare", self.name)

    def fresh(self):
        self.prepare(False)

    def _peer_script(self, *words):
        script = os.path.join(PEERS, "peer.sh")
        done = subprocess.run(["bash", script, *words], env=self.env(), check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def command(self):
        return self._peer_script("command", self.name)


class Kamailio(Peer):
    name = "kamailio"

    def prepare(self, limited):
        self._peer_script("prepare", self.name, "pike" if limited else "default")

    def fresh(self):
        """Its registrations are in memory alone."""


class CallServer(Peer):
    """One that carries the media of its calls itself, and has no limit of requests."""

    flood_variants = (False,)
    register_rates, call_rates, relayed = (1000,), (100,), (100, 200, 300)
    first_register_rate, first_call_rate, memory_rate = 1000, 100, 300

    def ready(self):
        # Asterisk has no answer for strangers.
        return answers_options(TRUSTED)

    def relay(self, pid, calls, seconds):
        return self.tool("sipcalls.py", "--pid", pid, "--calls", calls, "--seconds", seconds, "--cps", 50, source=TRUSTED)


class Asterisk(CallServer):
    name = "asterisk"
    patience = 60


class RustPbx(CallServer):
    name = "rustpbx"

    def command(self):
        # It looks for some of its files in the current folder.
        return f"env -C {os.path.join(self.dir, self.name)} {super().command()}"


class Rtpengine(Peer):
    name = "rtpengine"

    def ready(self):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(0.2)
        s.bind((HOST, 0))
        try:
            s.sendto(b"1 d7:command4:pinge", (HOST, 2223))
            return b"pong" in s.recv(2048)
        except OSError:
            return False
        finally:
            s.close()

    def relay(self, pid, calls, seconds):
        return self.tool("ngcalls.py", "--pid", pid, "--calls", calls, "--seconds", seconds, source=TRUSTED)


def installed(binary, users, called):
    """Ringfort and those of the peers whose programs are there: in $PATH, or where the scenarios' own settings say."""
    kinds = [
        (Kamailio, os.environ.get("KAMAILIO", "kamailio")),
        (Asterisk, os.path.join(os.environ.get("ASTERISK_PREFIX", "/usr"), "sbin", "asterisk")),
        (RustPbx, os.environ.get("RUSTPBX", "rustpbx")),
        (Rtpengine, os.environ.get("RTPENGINE", "rtpengine")),
    ]
    return [Ringfort(binary, users, called), *(kind() for kind, program in kinds if shutil.which(program))]
