#!/usr/bin/env bash
# Compile the programs of redirect/ebpf, with the compiler that the committed
# object was made by. Another one makes other bytes of the same source, so that
# without it nothing is done, and said.
set -euo pipefail

readonly major=14 # of clang, as Debian 12 and Ubuntu 22.04 have it

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  echo "usage: scripts/bpf.sh    rebuild redirect/ebpf's object and its Go file; needs clang $major and llvm-strip"
  exit 0
fi
cd "$(dirname "${BASH_SOURCE[0]}")/../redirect/ebpf"

find_tool() { # find_tool NAME: NAME-14, or NAME where it is of version 14
  if command -v "$1-$major" >/dev/null; then
    echo "$1-$major"
  elif command -v "$1" >/dev/null && "$1" --version | grep -qE "version $major\."; then
    echo "$1"
  fi
}
clang=$(find_tool clang)
strip=$(find_tool llvm-strip)
if [[ -z $clang || -z $strip ]]; then
  echo "notice: redirect/ebpf's object is not rebuilt and compared: it takes clang and llvm-strip of version $major (apt-get install clang-$major llvm-$major)" >&2
  exit 0
fi
# bpfel: the same bytes serve every little-endian machine, amd64 and arm64 among them.
GOPACKAGE=ebpf go run github.com/cilium/ebpf/cmd/bpf2go -cc "$clang" -strip "$strip" -target bpfel \
  -cflags "-O2 -g -Wall -Werror -Wno-unused-function" -no-global-types \
  programs bpf/programs.c
