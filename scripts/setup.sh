#!/usr/bin/env bash
# Installs what building and testing Ringfort need on Debian and Ubuntu, and only what is missing.
# Nothing is installed that is there already; a machine that has everything is left alone.
set -euo pipefail

# command it must give : package that brings it
programs=(
  "sipp:sip-tester" "baresip:baresip-core" "linphonec:linphone-cli" "sipsak:sipsak" "tshark:tshark" "sox:sox"
  "nft:nftables" "ip:iproute2" "cc:gcc" "c++:g++" "make:make" "pkg-config:pkg-config" "python3:python3"
)
# packages without a command of their own: file that shows they are there : package
files=("/usr/include/stdlib.h:libc6-dev" "/etc/ssl/certs/ca-certificates.crt:ca-certificates")

say() { printf 'setup: %s\n' "$*"; }

missing=()
for entry in "${programs[@]}"; do
  PATH="$PATH:/usr/sbin:/sbin" command -v "${entry%%:*}" >/dev/null || missing+=("${entry##*:}")
done
for entry in "${files[@]}"; do
  [ -e "${entry%%:*}" ] || missing+=("${entry##*:}")
done

if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    say "this is not Debian or Ubuntu. Install these by your system's means, then run this again: ${missing[*]}" >&2
    exit 1
  fi
  if [ "$(id -u)" = 0 ]; then
    root=()
  elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
    root=(sudo)
  else
    say "these packages are missing and need root: ${missing[*]}" >&2
    say "run as root: apt-get update && apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # tshark asks whether ordinary users may capture; without a terminal the answer is its default, no.
  "${root[@]}" apt-get update -q
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" </dev/null
else
  say "all Debian packages are there"
fi

if ! command -v cargo >/dev/null; then
  say "Rust is missing. Install rustup (package rustup, or the installer of rust-lang.org), then run this again." >&2
  exit 1
fi
if ! cargo nextest --version >/dev/null 2>&1; then
  say "installing cargo-nextest (a few minutes)"
  cargo install cargo-nextest --locked </dev/null
fi
for part in clippy fmt; do
  cargo "$part" --version >/dev/null 2>&1 || { say "missing: cargo $part (rustup component add clippy rustfmt)" >&2; exit 1; }
done
say "ready: make run, make test"
