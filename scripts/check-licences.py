#!/usr/bin/env python3
"""Fails when a crate that Ringfort is built from has a licence outside deny.toml's list, or is banned there.

Needs Python 3.11 and cargo, nothing else, and no network once the crates are there.
With --list it prints every crate with its licence; with --self-test it checks its own reading of expressions.
"""
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Never accepted, even should somebody put one into the list.
FORBIDDEN = re.compile(r"^(A|L)?GPL-|^SSPL|^BUSL|^CC-BY-(NC|SA)", re.IGNORECASE)


def tokens(expression: str) -> list[str]:
    """SPDX tokens; the old `MIT/Apache-2.0` means either."""
    return re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))


class Reader:
    """Recursive descent over `OR`, `AND`, `WITH` and parentheses: is there a choice that the list allows?"""

    def __init__(self, expression: str, allowed: set[str]):
        self.left = tokens(expression)
        self.allowed = allowed

    def peek(self) -> str:
        return self.left[0].upper() if self.left else ""

    def either(self) -> bool:
        result = self.both()
        while self.peek() == "OR":
            self.left.pop(0)
            result = self.both() or result
        return result

    def both(self) -> bool:
        result = self.one()
        while self.peek() == "AND":
            self.left.pop(0)
            result = self.one() and result
        return result

    def one(self) -> bool:
        if not self.left:
            raise ValueError("expression ends too early")
        token = self.left.pop(0)
        if token == "(":
            result = self.either()
            if not self.left or self.left.pop(0) != ")":
                raise ValueError("no closing parenthesis")
            return result
        if self.peek() == "WITH":
            self.left.pop(0)
            token = f"{token} WITH {self.left.pop(0)}"
        return token in self.allowed and not FORBIDDEN.match(token)


def accepted(expression: str, allowed: set[str]) -> bool:
    reader = Reader(expression, allowed)
    result = reader.either()
    if reader.left:
        raise ValueError(f"unexpected {reader.left[0]!r}")
    return result


def self_test() -> None:
    allowed = {"MIT", "Apache-2.0", "ISC", "OpenSSL", "Apache-2.0 WITH LLVM-exception", "GPL-3.0-only"}
    for expression, expected in {
        "MIT": True,
        "MIT/Apache-2.0": True,
        "GPL-2.0-only": False,
        "GPL-3.0-only": False,  # in the list, and still refused
        "MIT OR GPL-2.0-only": True,
        "MIT AND GPL-2.0-only": False,
        "ISC AND (Apache-2.0 OR ISC) AND OpenSSL": True,
        "Apache-2.0 WITH LLVM-exception OR LGPL-2.1-only": True,
        "(LGPL-2.1-or-later)": False,
    }.items():
        assert accepted(expression, allowed) is expected, expression


def main() -> int:
    self_test()
    if "--self-test" in sys.argv:
        return 0
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    allowed = set(rules["licenses"]["allow"])
    banned = {entry["crate"]: entry["reason"] for entry in rules["bans"]["deny"]}
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    metadata = None
    for extra in (["--offline"], []):  # what is there already first; fetched only where it must be
        run = subprocess.run(command + extra, cwd=ROOT, capture_output=True, text=True)
        if run.returncode == 0:
            metadata = json.loads(run.stdout)
            break
    if metadata is None:
        print(run.stderr, file=sys.stderr)
        return 1

    problems = []
    for crate in sorted(metadata["packages"], key=lambda crate: crate["name"]):
        name, licence = f"{crate['name']} {crate['version']}", crate["license"]
        if "--list" in sys.argv:
            print(f"{name}: {licence}")
        if crate["name"] in banned:
            problems.append(f"{name}: banned, {banned[crate['name']]}")
        if not licence:
            problems.append(f"{name}: no licence is named in its manifest")
            continue
        try:
            if not accepted(licence, allowed):
                problems.append(f"{name}: {licence} is not in deny.toml's list")
        except ValueError as error:
            problems.append(f"{name}: cannot read the licence {licence!r}: {error}")
        source = crate["source"]
        if source is not None and not source.startswith("registry+"):
            problems.append(f"{name}: comes from {source}, not from the registry")
    for problem in problems:
        print(f"licences: {problem}", file=sys.stderr)
    if not problems:
        print(f"licences: {len(metadata['packages'])} crates, all allowed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
