#!/usr/bin/env python3
"""Loads Ringfort, and whichever of the peers are installed, with the same scenarios and prints one table.

  peers.py [--quick] [--rounds N] [--step start|register|register-max|call|call-max|rtp|memory|flood|storm|answers ...] [--only ringfort|kamailio|rtpengine ...]

Wants the folder of load scenarios (RINGFORT_BENCH_PEERS, or ../shared/bench/peers beside the checkout), SIPp, a C
compiler and taskset. Every server runs on SERVER_CPU (0), every generator on LOAD_CPU (1), both with niceness NICE.
Ringfort's callers prove themselves by digest, and the called side is a registered extension. The servers take turns
within a round, so that what else the machine does touches all alike; the table has the medians of the rounds, each with
its least and most. All single results go to results.jsonl below the scratch folder (--keep).
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys

import servers
from servers import HOST, PORT, TRUSTED, UAC_PORT, UNTRUSTED, answer_times, answers_options


class Table:
    """Rows by what was measured, columns by server, each cell a list of values of the rounds. What has to be so is judged as it
    comes: `missed` has a line for each bar that was not reached."""

    def __init__(self, columns):
        self.columns, self.rows, self.bars, self.missed = columns, {}, {}, []

    def add(self, server, what, value, bar=""):
        self.bars.setdefault(what, bar)
        if value is not None:
            self.rows.setdefault(what, {}).setdefault(server, []).append(value)

    def must(self, server, what, value, bar, reached):
        """As `add`, and a bar that is missed, or was not measured, fails the run."""
        self.add(server, what, value, bar)
        if value is None or not reached(value):
            self.missed.append(f"{server}: {what}: expected {bar}, got {'nothing' if value is None else f'{value:g}'}")

    def cell(self, what, server):
        values = self.rows.get(what, {}).get(server)
        if not values:
            return ""
        text = f"{statistics.median(values):g}"
        return text if len(values) == 1 else f"{text} ({min(values):g}–{max(values):g})"

    def print(self):
        head = ["work", *self.columns, "to be reached"]
        print(f"| {' | '.join(head)} |\n| {' | '.join(['---'] * len(head))} |")
        for what, bar in self.bars.items():
            print(f"| {what} | {' | '.join(self.cell(what, c) for c in self.columns)} | {bar} |", flush=True)


def last(lines, key):
    return next((line[key] for line in reversed(lines) if key in line), None)


def step_start(server, table, quick):
    lines = server.tool("bench.py", "start", "--cmd", server.command(), "--repeat", 1)
    note = ", 10,000 extensions" if not quick else ""
    table.add(server.name, f"exec to first OPTIONS answered, ms{note}", last(lines, "ready_ms"), "≤ 50")
    pss = last(lines, "pss_tree_kib")
    table.add(server.name, "idle memory, MiB", pss and round(pss / 1024, 1), "≤ 30")


def step_register(server, table, quick):
    with server.running() as pid:
        for rate in [min(2000, *server.register_rates)] if quick else server.register_rates:
            lines = server.tool("bench.py", "register", "--pid", pid, "--rate", rate, "--seconds", 4 if quick else 8, "--repeat", 1)
            table.add(server.name, f"one digest registration at {rate}/s, CPU ms", last(lines, "cpu_ms_each"), "≤ 0.039")
            table.add(server.name, f"  failed at {rate}/s, %", last(lines, "failed_pct"), "< 0.1")
            table.add(server.name, f"  generator's core at {rate}/s, %", last(lines, "generator_cpu_pct"))


def step_register_max(server, table, quick):
    with server.running() as pid:
        lines = server.tool("bench.py", "max", "--what", "register", "--pid", pid, "--rate", server.first_register_rate, "--limit", 48000,
                            "--seconds", 4 if quick else 10, "--repeat", 1)
    table.add(server.name, "registrations/s held on one core", last(lines, "max_rate"), "≥ 24000")
    table.add(server.name, "  CPU at that rate, ms", (last(lines, "cpu_ms_each") or [None])[0], "")
    table.add(server.name, "  generator's core at that rate, %", (last(lines, "generator_cpu_pct") or [None])[0], "")


def step_call(server, table, quick):
    for scenario in server.call_scenarios:
        how, bar = {"uac_auth": ("with digest", "≤ 0.40"), "uac": ("from a trusted address", "≤ 0.30")}[scenario]
        source, port = (server.known, server.known_port) if scenario == "uac" else (UNTRUSTED, PORT)
        with server.running() as pid:
            server.register_called()
            for rate in [min(200, *server.call_rates)] if quick else server.call_rates:
                lines = server.tool("bench.py", "call", "--pid", pid, "--rate", rate, "--seconds", 4 if quick else 8,
                                    "--uac", scenario, "--repeat", 1, source=source, port=port)
                table.add(server.name, f"one call {how} at {rate}/s, CPU ms", last(lines, "cpu_ms_each"), bar)
                table.add(server.name, f"  failed {how} at {rate}/s, %", last(lines, "failed_pct"), "< 0.1")


def step_call_max(server, table, quick):
    with server.running() as pid:
        server.register_called()
        lines = server.tool("bench.py", "max", "--what", "call", "--pid", pid, "--rate", server.first_call_rate, "--limit", 8000,
                            "--uac", "uac_auth", "--seconds", 4 if quick else 10, "--repeat", 1)
    table.add(server.name, "calls/s with digest held on one core", last(lines, "max_rate"), "≥ 2500")
    table.add(server.name, "  CPU of a call at that rate, ms", (last(lines, "cpu_ms_each") or [None])[0], "")
    table.add(server.name, "  generator's core at that rate of calls, %", (last(lines, "generator_cpu_pct") or [None])[0], "")


def step_rtp(server, table, quick):
    for calls in [50] if quick else server.relayed:
        with server.running() as pid:
            server.register_called()
            line = (server.relay(pid, calls, 4 if quick else 8) or [{}])[-1]
        bar = "≤ 4" if calls >= 400 else ""
        table.add(server.name, f"{calls} relayed calls: CPU of a core per 100 calls, %", line.get("cpu_pct_per_100_calls"), bar)
        table.add(server.name, f"  {calls} calls: up", line.get("up"), str(calls))
        table.add(server.name, f"  {calls} calls: lost, %", line.get("loss_pct"), "")
        table.add(server.name, f"  {calls} calls: p99 delay, ms", line.get("delay_ms_p99"), "≤ 20")
        table.add(server.name, f"  {calls} calls: memory per call, KiB", line.get("kib_per_call"), "≤ 20")


def step_memory(server, table, quick):
    server.fresh()
    lines = server.tool("bench.py", "memreg", "--cmd", server.command(), "--rate", server.memory_rate)
    table.add(server.name, "memory per registration, bytes", last(lines, "bytes_per_user"), "≤ 1200")


def step_flood(server, table, quick):
    for scenario in ("flood_invite", "flood_register"):
        for limit in server.flood_variants:
            with server.running(limit) as pid:
                server.register_called()
                # Few sources where the limit is on: each is over it from its first messages.
                lines = server.tool("bench.py", "flood", "--pid", pid, "--scenario", scenario, "--sources", 20 if limit else 200, "--rate", 2000,
                                    "--seconds", 5 if quick else 10, "--repeat", 1, source=TRUSTED)
            cost = last(lines, "cpu_ms_per_hostile")
            name = f"one hostile request ({scenario}{', over the rate limit' if limit else ''}), CPU µs"
            table.add(server.name, name, cost and round(1000 * cost, 1), "≤ 8" if limit else "")


def step_storm(server, table, quick):
    """20,000 requests a second, each in the name of another source and every 50th in that of a phone that calls meanwhile:
    nobody is banned, memory stays, and the phone's calls all succeed."""
    count, rate = (100_000, 10_000) if quick else (1_000_000, 20_000)
    with server.running("world") as pid:
        server.register_called()
        server.register_at((TRUSTED, UAC_PORT), [("u00000", server.passwords[0])])
        before = resident(pid)
        storm = subprocess.Popen(
            ["nice", "-n", servers.NICE, "taskset", "-c", servers.LOAD_CPU, server.storm, f"{HOST}:{PORT}", str(count), str(rate), TRUSTED],
            stdout=subprocess.PIPE, text=True)
        seconds = max(3, count // rate - 6)
        lines = server.tool("bench.py", "call", "--pid", pid, "--uac", "uac_auth", "--rate", 10, "--seconds", seconds, "--repeat", 1, source=TRUSTED)
        sent = json.loads(storm.communicate()[0])
        guard = server.guard_status()
        grown = resident(pid) - before
    what = f"storm of {count:,} forged sources"
    table.add(server.name, f"{what}: packets/s sent", sent["per_second"], "≥ 20000")
    judge_storm(server.name, table, what, last(lines, "failed_pct"), guard["banned_now"], grown)


# What a storm may leave behind, in KiB: the tables of the rate limiter are there from the start, the transactions and
# buffers of its height are not.
STORM_MEMORY = 16_384


def judge_storm(name, table, what, failed_pct, banned, grown_kib):
    table.must(name, f"{what}: calls of a registered phone that failed, % (10/s)", failed_pct, "0", lambda pct: pct == 0)
    table.must(name, f"{what}: banned", banned, "0", lambda sources: sources == 0)
    table.must(name, f"{what}: memory grown, KiB", grown_kib, f"≤ {STORM_MEMORY}", lambda kib: kib <= STORM_MEMORY)


def resident(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def step_answers(server, table, quick):
    """GUARD-10: does the time of an answer tell a real extension from an invented one?"""
    number = 1000 if quick else 10_000
    with server.running():
        for what, password in (("without credentials", None), ("with a wrong password", "wrong")):
            real, invented = answer_times(number, "u00000", "v00000", password)
            table.add(server.name, f"401 for a real user {what}, µs (median of {number})", round(real, 1))
            table.add(server.name, f"401 for an invented user {what}, µs (median of {number})", round(invented, 1))
            table.add(server.name, f"  difference {what}, µs", round(real - invented, 2), "about 0")


CALL_SERVERS = ["ringfort", "kamailio", "asterisk", "rustpbx"]
# What a step is for: the servers that do that work.
STEPS = {
    "start": (step_start, CALL_SERVERS),
    "register": (step_register, CALL_SERVERS),
    "register-max": (step_register_max, CALL_SERVERS),
    "call": (step_call, CALL_SERVERS),
    "call-max": (step_call_max, CALL_SERVERS),
    "rtp": (step_rtp, ["ringfort", "asterisk", "rustpbx", "rtpengine"]),
    "memory": (step_memory, CALL_SERVERS),
    "flood": (step_flood, CALL_SERVERS),
    "storm": (step_storm, ["ringfort"]),
    "answers": (step_answers, ["ringfort"]),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.environ.get("RINGFORT_BIN"), help="the program to measure (release build)")
    parser.add_argument("--quick", action="store_true", help="one short round without the highest rates")
    parser.add_argument("--rounds", type=int, help="rounds of each step (3)")
    parser.add_argument("--step", action="append", choices=list(STEPS))
    parser.add_argument("--only", action="append", choices=["ringfort", "kamailio", "asterisk", "rustpbx", "rtpengine"])
    parser.add_argument("--keep", action="store_true", help="keep the scratch folder")
    args = parser.parse_args()
    if not os.path.isdir(servers.PEERS):
        sys.exit(f"no load scenarios at {servers.PEERS}: set RINGFORT_BENCH_PEERS to the folder that has bench.py")
    for program in ("sipp", "taskset", "cc"):
        if not shutil.which(program):
            sys.exit(f"{program} is missing: `make setup` installs it")
    if answers_options():
        sys.exit(f"something answers SIP on {HOST}:{PORT} already: stop it first")
    rounds = args.rounds or (1 if args.quick else 3)
    steps = args.step or [name for name in STEPS if not (args.quick and name.endswith("-max"))]
    every = servers.installed(args.binary, 200 if args.quick else 10_000, 60 if args.quick else 1500)
    every = [server for server in every if not args.only or server.name in args.only]
    table = Table([server.name for server in every])
    try:
        for name in steps:
            step, who = STEPS[name]
            for number in range(rounds):
                for server in every:
                    if server.name in who:
                        print(f"{name}, round {number + 1} of {rounds}: {server.name}", file=sys.stderr, flush=True)
                        step(server, table, args.quick)
        table.print()
    finally:
        for server in every:
            server.stop()
            if args.keep:
                print(f"kept: {server.dir}")
            else:
                shutil.rmtree(server.dir, ignore_errors=True)
    if table.missed:
        sys.exit("\n".join(["bars missed:", *table.missed]))


if __name__ == "__main__":
    main()
