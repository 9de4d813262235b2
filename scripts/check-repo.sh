#!/usr/bin/env bash
# House rules that no compiler knows: nothing of a developer's machine, no stubs, no sleeping tests, no file that is too long.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0
complain() { printf 'house rules: %s\n' "$1" >&2; sed 's/^/    /' >&2; failed=1; }
# Tracked files and new ones that are not ignored.
files() { git ls-files --cached --others --exclude-standard -- "$@" | while IFS= read -r file; do [ -f "$file" ] && printf '%s\n' "$file"; done; }
search() { # pattern, then path patterns
  local pattern=$1; shift
  files "$@" | tr '\n' '\0' | xargs -0 -r grep -nIE -e "$pattern" -- 2>/dev/null | cut -c 1-200
}

found=$(search '(^|[^A-Za-z0-9._-])/([w]ork|[f]arm|[r]oot|home/[a-z]+|[U]sers/[A-Za-z]+)/' . ':!*.lock' ':!scripts/check-repo.sh' ':!packaging' ':!crates/audit/data/cis')
[ -n "$found" ] && complain "absolute paths of somebody's machine" <<<"$found"

found=$(search '(static|index)\.crates\.io|registry\.npmjs\.org|files\.pythonhosted\.org|pypi\.org/simple|deb\.debian\.org' . ':!*.lock' ':!scripts/check-repo.sh')
[ -n "$found" ] && complain "hosts of package registries (the clients know them)" <<<"$found"

# `ignore` is for the other half of a test that starts itself as a process, and for writers of fixtures: the reason says so.
found=$(search '\b(todo|unimplemented)!\(|#\[ignore' '*.rs' | grep -vE '#\[ignore = "(run by|writes) ')
[ -n "$found" ] && complain "stubs or ignored tests" <<<"$found"

found=$(search '\b([F]IXME|[X]XX|[H]ACK)\b' '*.rs' '*.sh' '*.py')
[ -n "$found" ] && complain "notes to self: finish it, or write an issue" <<<"$found"

# The interop and black-box tests wait for real programs; no other test may sleep.
found=$(search 'thread::sleep\(|time::sleep\(' 'crates/sip' 'crates/media' 'crates/guard' 'crates/switch' 'crates/phone')
[ -n "$found" ] && complain "sleeping in a pure crate" <<<"$found"

found=$(files '*.rs' | while IFS= read -r file; do
  lines=$(wc -l <"$file"); [ "$lines" -gt 800 ] && printf '%s: %s lines\n' "$file" "$lines"; done)
[ -n "$found" ] && complain "files over 800 lines: split by what they are about" <<<"$found"

found=$(files . | grep -E '\.(pcap|pcapng|pem|key|sqlite|db)$')
[ -n "$found" ] && complain "captures, keys or databases in the tree" <<<"$found"

for file in $(files '*.sh' '.ci/*'); do
  bash -n "$file" || failed=1
  [ -x "$file" ] || complain "not executable" <<<"$file"
done

[ "$failed" = 0 ] && echo "house rules: kept"
exit "$failed"
