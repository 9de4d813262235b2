#!/usr/bin/env bash
# What action.yml runs: builds the program unless there is one, scans, and leaves what a workflow goes on with. Inputs are INPUT_…,
# the rest is GitHub's own: GITHUB_OUTPUT, GITHUB_STEP_SUMMARY, RUNNER_TEMP.
set -euo pipefail
: "${ACTION_PATH:?the folder of the action}" "${GITHUB_OUTPUT:=/dev/null}" "${GITHUB_STEP_SUMMARY:=/dev/null}"

ringfort=$(command -v ringfort || true)
if [ -z "$ringfort" ]; then
  echo "::group::building ringfort"
  export CARGO_TARGET_DIR="${RUNNER_TEMP:-$(mktemp -d)}/ringfort"
  cargo build --release --locked --manifest-path "$ACTION_PATH/Cargo.toml" -p ringfort --bin ringfort
  ringfort="$CARGO_TARGET_DIR/release/ringfort"
  echo "::endgroup::"
fi

summary=$(mktemp)
trap 'rm -f "$summary"' EXIT
arguments=(-o table -o "markdown=$summary" --fail-on "${INPUT_FAIL_ON:-info}")
[ -z "${INPUT_SARIF:-}" ] || arguments+=(-o "sarif=$INPUT_SARIF")
[ "${INPUT_SOFT_FAIL:-false}" != true ] || arguments+=(--soft-fail)
# One a line: a blank in a path is no separator.
while IFS= read -r argument; do
  [ -z "$argument" ] || arguments+=("$argument")
done <<<"${INPUT_ARGUMENTS:-}"
paths=()
while IFS= read -r path; do
  [ -z "$path" ] || paths+=("$path")
done <<<"${INPUT_PATHS:-.}"

code=0
"$ringfort" audit "${arguments[@]}" -- "${paths[@]}" || code=$?
# A summary has at most 1 MiB.
head -c 1000000 "$summary" >>"$GITHUB_STEP_SUMMARY"
{
  echo "exit-code=$code"
  [ -z "${INPUT_SARIF:-}" ] || [ ! -f "$INPUT_SARIF" ] || echo "sarif=$INPUT_SARIF"
} >>"$GITHUB_OUTPUT"
exit "$code"
