#!/usr/bin/env bash
# Run what needs root and real network namespaces.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  cat <<'EOF'
usage: scripts/netns.sh [GO TEST ARGUMENT]...

Run the tests with the build tag netns, as root; with arguments, those that they
ask for. What is measured stands at the end, one FIGURE a line.

  SHUNT_KILLS=200    how often a fault test kills each apply (20)
  SHUNT_SKIP=REASON  skip what needs root
EOF
  exit 0
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export SHUNT_FIGURES=$work/figures SHUNT_REDIRECT_BINARY=$work/redirect SHUNT_CNI_BINARY=$work/cni
touch "$SHUNT_FIGURES"
CGO_ENABLED=0 go build -trimpath -o "$SHUNT_REDIRECT_BINARY" ./cmd/redirect
CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$SHUNT_CNI_BINARY" ./cmd/cni

# The tests are built as the caller, so that the build cache stays the caller's,
# and run as root.
run=()
if ((EUID != 0)); then
  run=(-exec "sudo --preserve-env=SHUNT_SKIP,SHUNT_KILLS,SHUNT_FIGURES,SHUNT_REDIRECT_BINARY,SHUNT_CNI_BINARY,SHUNT_PROXY_BINARY")
fi
timed='^TestAddTime$' others=()
if (($# == 0)); then
  mapfile -t packages < <(git grep -lE '^//go:build .*\bnetns\b' -- '*_test.go' | xargs -n1 dirname | sort -u | sed 's|^|./|')
  if ((${#packages[@]} == 0)); then
    echo "scripts/netns.sh: no test with the build tag netns" >&2
    exit 1
  fi
  set -- "${packages[@]}"
  others=(-skip "$timed")
fi
go test -count=1 -tags netns "${run[@]}" "${others[@]}" "$@"
# Milliseconds of a process are measured with nothing beside.
((${#others[@]} == 0)) || go test -count=1 -tags netns "${run[@]}" -run "$timed" ./cni
cat "$SHUNT_FIGURES"
