#!/usr/bin/env bash
# Remove every trace of the demo: the cluster, or what was put into yours.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  cat <<'USAGE'
usage: scripts/demo-down.sh

Removes the cluster that scripts/demo.sh started. With SHUNT_CLUSTER=current it
removes the demo's namespaces and Shunt from the cluster of $KUBECONFIG instead.
USAGE
  exit 0
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ ${SHUNT_CLUSTER:-} == current ]]; then
  go run ./test/demo down
  go run ./cmd/shuntctl uninstall
  exit 0
fi
go build -C test/cluster -o ../../bin/cluster .
root=()
((EUID == 0)) || root=(sudo env "PATH=$PATH")
"${root[@]}" bin/cluster down
