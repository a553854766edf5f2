#!/usr/bin/env bash
# Install what the test cluster takes from the host, and only what is missing.
# No daemon is among it: nothing on the host is replaced, removed or started.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  echo "usage: scripts/install-prerequisites.sh    install compiler and network tools that are missing (Debian, Ubuntu)"
  exit 0
fi

missing=()
need() { # need PACKAGE TEST...: the package is missing where the test fails
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}
# Administrators' tools are not in every user's PATH.
PATH=$PATH:/usr/sbin:/sbin
need gcc command -v gcc
need libc6-dev test -e /usr/include/stdlib.h
need pkg-config command -v pkg-config
need libseccomp-dev test -e /usr/include/seccomp.h
need iproute2 command -v ip
need iptables command -v iptables
need nftables command -v nft
((${#missing[@]})) || exit 0

if ! command -v apt-get >/dev/null; then
  echo "install-prerequisites: this system has no apt-get; install these yourself, then run again: ${missing[*]}" >&2
  exit 1
fi
sudo=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || { echo "install-prerequisites: run as root, or install sudo" >&2; exit 1; }
  sudo=(sudo)
fi
echo "installing ${missing[*]}"
"${sudo[@]}" apt-get update -qq
# --no-remove: rather fail than push out something of the host's.
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-remove --no-install-recommends "${missing[@]}" >/dev/null
