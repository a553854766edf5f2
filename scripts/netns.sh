#!/usr/bin/env bash
# Run the tests that need root and real network namespaces.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  echo "usage: scripts/netns.sh    run the tests with the build tag netns, as root"
  exit 0
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The tests are built as the caller, so that the build cache stays the caller's,
# and run as root.
run=()
if ((EUID != 0)); then
  run=(-exec "sudo --preserve-env=SHUNT_SKIP")
fi
mapfile -t packages < <(git grep -lE '^//go:build .*\bnetns\b' -- '*_test.go' | xargs -n1 dirname | sort -u | sed 's|^|./|')
if ((${#packages[@]} == 0)); then
  echo "scripts/netns.sh: no test with the build tag netns" >&2
  exit 1
fi
go test -count=1 -tags netns "${run[@]}" "${packages[@]}"
