#!/usr/bin/env bash
# Prints where cargo puts the ringfort program. Arguments: --release for the optimised one.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$(cargo metadata --format-version 1 --no-deps --locked | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')}
case "${1:-}" in
  --release) echo "$target/release/ringfort" ;;
  *) echo "$target/debug/ringfort" ;;
esac
