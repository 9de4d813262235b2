#!/usr/bin/env bash
# Figures. First the micro-benchmarks, then a release build under load with the scenarios that other servers were measured
# with, where those are at hand. Arguments go to benches/peers.py: --quick, --step register, …
set -euo pipefail
cd "$(dirname "$0")/.."
cargo bench --workspace
cargo build --release -p ringfort --bin ringfort
cargo build --release -p ringfort-net --example storm
peers=${RINGFORT_BENCH_PEERS:-../shared/bench/peers}
if [ ! -d "$peers" ]; then
  echo "No load scenarios at $peers (RINGFORT_BENCH_PEERS): the table against other servers is left out."
  exit 0
fi
exec python3 benches/peers.py --binary "$(scripts/binary-path.sh --release)" "$@"
