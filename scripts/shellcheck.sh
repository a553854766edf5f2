#!/usr/bin/env bash
# Check every shell script; installs shellcheck when it is missing.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  echo "usage: scripts/shellcheck.sh    shellcheck every script of the tree"
  exit 0
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v shellcheck >/dev/null; then
  sudo=()
  ((EUID == 0)) || sudo=(sudo)
  "${sudo[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -qqy --no-remove shellcheck >/dev/null
fi
git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck
