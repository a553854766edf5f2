#!/usr/bin/env bash
# The end-to-end tests: the cluster's own, the demo with its figures, and the
# tests of test/e2e on the cluster that the demo left up.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  echo "usage: scripts/e2e.sh    run the end-to-end tests, as root or with sudo; SHUNT_E2E_KEEP=1 leaves the cluster up"
  exit 0
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ ${SHUNT_CLUSTER:-} != current ]]; then
  (cd test/cluster && go test -count=1 -timeout 30m -tags e2e ./...)
  [[ -n ${SHUNT_E2E_KEEP:-} ]] || trap scripts/demo-down.sh EXIT
fi
scripts/demo.sh

CGO_ENABLED=0 go build -C test/e2e -trimpath -ldflags='-s -w' -o ../../bin/e2e-app ./app
CGO_ENABLED=0 go build -C test/e2e -trimpath -ldflags='-s -w' -o ../../bin/interop-client google.golang.org/grpc/interop/client
CGO_ENABLED=0 go build -C test/e2e -trimpath -ldflags='-s -w' -o ../../bin/interop-server google.golang.org/grpc/interop/server
CGO_ENABLED=0 go build -C test/e2e -trimpath -ldflags='-s -w' -o ../../bin/nats-server github.com/nats-io/nats-server/v2
