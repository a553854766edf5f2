#!/usr/bin/env bash
# The end-to-end tests: the cluster's own, the demo with its figures, and the
# tests of test/e2e on the cluster that the demo left up.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  cat <<'USAGE'
usage: scripts/e2e.sh [TESTS]

Runs the end-to-end tests whose names match the expression TESTS (all), as root
or with sudo, and removes the cluster afterwards.

  SHUNT_E2E_KEEP=1   leave the cluster and the tests' pods as they are
  SHUNT_E2E_ONLY=1   no cluster tests, no demo: the cluster is up with Shunt on it
USAGE
  exit 0
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ -z ${SHUNT_E2E_ONLY:-} ]]; then
  scripts/install-prerequisites.sh
  root=()
  ((EUID == 0)) || root=(-exec "sudo env PATH=$PATH")
  go test -C test/cluster -count=1 -timeout 30m -tags e2e "${root[@]}" ./...
  [[ -n ${SHUNT_E2E_KEEP:-} ]] || trap scripts/demo-down.sh EXIT
  scripts/demo.sh
fi

build() { CGO_ENABLED=0 go build -C test/e2e -trimpath -ldflags='-s -w' -o "../../bin/e2e/$1" "$2"; }
build app ./app
build interop-client google.golang.org/grpc/interop/client
build interop-server google.golang.org/grpc/interop/server
build nats-server github.com/nats-io/nats-server/v2
build fortio fortio.org/fortio
root=()
((EUID == 0)) || root=(sudo env "PATH=$PATH")
tools=$("${root[@]}" bin/cluster bin)
install -m 755 "$tools/etcd" bin/e2e/etcd # the cluster's own
SHUNT_E2E_IMAGE=$(go run -C test/e2e ./image "$PWD/bin/e2e" "$PWD/bin/images/e2e.tar")

"${root[@]}" bin/cluster load-image bin/images/e2e.tar
KUBECONFIG=$("${root[@]}" bin/cluster kubeconfig)
"${root[@]}" env "PATH=$tools:$PATH" "KUBECONFIG=$KUBECONFIG" "SHUNT_E2E_IMAGE=$SHUNT_E2E_IMAGE" "SHUNT_E2E_KEEP=${SHUNT_E2E_KEEP:-}" \
  go test -C test/e2e -count=1 -timeout 30m -tags e2e -v -run "${1:-.}" .
