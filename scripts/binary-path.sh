#!/usr/bin/env bash
# Prints where cargo puts the ringfort program. Arguments: --release for the optimised one.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
case "${1:-}" in
  --release) echo "$target/release/ringfort" ;;
  *) echo "$target/debug/ringfort" ;;
esac
