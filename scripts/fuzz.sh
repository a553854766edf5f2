#!/usr/bin/env bash
# Run every fuzz target of the tree for a while, one after the other.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  echo "usage: scripts/fuzz.sh [TIME]    fuzz every target for TIME (5s), one after the other"
  exit 0
fi
time=${1:-5s}
cd "$(dirname "${BASH_SOURCE[0]}")/.."

found=0
while IFS=: read -r file target; do
  found=$((found + 1))
  echo "fuzz $target ($(dirname "$file")) for $time"
  # From its own folder: not every target is in the product's module.
  go test -C "$(dirname "$file")" -run='^$' -fuzz="^$target\$" -fuzztime="$time" .
done < <(git grep -E '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | sed -E 's/^([^:]+):func (Fuzz[A-Za-z0-9_]+).*/\1:\2/')
if ((found == 0)); then
  echo "scripts/fuzz.sh: no fuzz target found" >&2
  exit 1
fi
