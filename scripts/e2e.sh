#!/usr/bin/env bash
# The end-to-end tests: the cluster's own; then, for each way to capture a pod's
# traffic, the demo with its figures, the tests of test/e2e on the cluster that the
# demo left up, and, where nodes capture, what is taken away from them.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  cat <<'USAGE'
usage: scripts/e2e.sh [TESTS]

Runs the end-to-end tests whose names match the expression TESTS (all), as root
or with sudo, and removes the cluster afterwards.

  SHUNT_CAPTURES="init cni ebpf"  the ways to capture that all runs over; the last
                                  one stays installed
  SHUNT_SOAK=1      at full length: 50 pods for each fault, 500 for leaks
  SHUNT_E2E_KEEP=1  leave the cluster and the tests' pods as they are
  SHUNT_E2E_ONLY=1  no cluster tests, no demo: the cluster is up with Shunt on it,
                    which captures in the last of those ways
USAGE
  exit 0
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

read -ra captures <<<"${SHUNT_CAPTURES:-init cni ebpf}"
tests=${1:-.}
root=()
((EUID == 0)) || root=(sudo env "PATH=$PATH")
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# up CAPTURE: Shunt on the cluster, with that way to capture, and the demo, which
# counts fewer calls after the first time.
up() {
  local calls=()
  [[ $1 == "${captures[0]}" ]] || calls=(-window-calls 2000)
  if [[ -x bin/cluster ]] && "${root[@]}" bin/cluster status >/dev/null 2>&1; then
    SHUNT_CLUSTER=current KUBECONFIG=$(kubeconfig) SHUNT_CAPTURE=$1 scripts/demo.sh "${calls[@]}"
  else
    SHUNT_CAPTURE=$1 scripts/demo.sh "${calls[@]}"
  fi
}

kubeconfig() {
  if ((EUID == 0)); then bin/cluster kubeconfig; else echo "$PWD/bin/kubeconfig"; fi
}

# load: the images of the tests' own programs, into every node.
load() {
  build() { CGO_ENABLED=0 go build -C test/e2e -trimpath -ldflags='-s -w' -o "../../bin/e2e/$1" "$2"; }
  build app ./app
  build witness ./witness
  build interop-client google.golang.org/grpc/interop/client
  build interop-server google.golang.org/grpc/interop/server
  build nats-server github.com/nats-io/nats-server/v2
  build fortio fortio.org/fortio
  another
  tools=$("${root[@]}" bin/cluster bin)
  install -m 755 "$tools/etcd" bin/e2e/etcd # the cluster's own
  mapfile -t images < <(go run -C test/e2e ./image "$PWD/bin/e2e" "$PWD/bin/images/e2e.tar")
  "${root[@]}" bin/cluster load-image bin/images/e2e.tar
}

# another: an agent whose eBPF programs are not those of this version.
another() {
  local programs=redirect/ebpf/programs_bpfel.go
  sed 's/return spec, err/return another(spec), err/' "$programs" >"$out/programs.go"
  printf '{"Replace": {"%s": "%s", "%s": "%s"}}' "$programs" "$out/programs.go" \
    redirect/ebpf/another.go test/e2e/testdata/another.go >"$out/overlay.json"
  CGO_ENABLED=0 go build -overlay "$out/overlay.json" -trimpath -ldflags='-s -w' -o bin/e2e/agent ./cmd/agent
  install -m 755 bin/cni bin/e2e/cni
}

# run CAPTURE GO-TEST-FLAGS...: tests of test/e2e. Those that wait do so together.
run() {
  local capture=$1
  shift
  "${root[@]}" env "PATH=$tools:$PATH" "KUBECONFIG=$(kubeconfig)" "SHUNT_E2E_IMAGE=${images[0]}" "SHUNT_E2E_OTHER_AGENT=${images[1]}" \
    "SHUNT_E2E_KEEP=${SHUNT_E2E_KEEP:-}" "SHUNT_SOAK=${SHUNT_SOAK:-}" "SHUNT_E2E_WORLD=${world:-}" "SHUNT_CAPTURE=$capture" \
    go test -C test/e2e -count=1 -timeout 2h -parallel 8 -tags e2e -v "$@" .
}

if [[ -z ${SHUNT_E2E_ONLY:-} ]]; then
  scripts/install-prerequisites.sh
  exec=()
  ((EUID == 0)) || exec=(-exec "sudo env PATH=$PATH")
  go test -C test/cluster -count=1 -timeout 30m -tags e2e "${exec[@]}" ./...
  [[ -n ${SHUNT_E2E_KEEP:-} ]] || trap 'scripts/demo-down.sh; rm -rf "$out"' EXIT
else
  captures=("${captures[-1]}")
fi

# The tests that run over each way, and those of nodes that capture.
faults='^TestCapture$'
case $tests in
  .) list=. ;;
  *TestCapture*) list='' faults=$tests ;;
  *) list=$tests faults='' ;;
esac

# A figure has one value: what is measured a second time is named after the way.
for capture in "${captures[@]}"; do
  prefix=capture.$capture.
  [[ $capture != "${captures[0]}" ]] || prefix=
  [[ -n ${SHUNT_E2E_ONLY:-} ]] || up "$capture" | sed -u "s/^FIGURE /&$prefix/"
  [[ -n ${tools:-} ]] || load
  [[ -z $list ]] || run "$capture" -run "$list" -skip '^TestCapture$' | sed -u "s/^FIGURE /&$prefix/" | tee "$out/$capture"
  [[ -n $faults && $capture != init ]] || continue
  family=capture.$capture.
  [[ $capture != cni ]] || family=cni.
  world=none run "$capture" -run "$faults" | sed -u "s/^FIGURE cni\./FIGURE $family/"
done
[[ -n $list ]] || exit 0
declare -A different
for capture in "${captures[@]}"; do
  passed=$(grep -cE '^ *--- PASS' "$out/$capture" || true)
  different[$passed]=$capture
  printf 'FIGURE e2e.capture.%s.passed %s tests\n' "$capture" "$passed"
done
if ((${#different[@]} != 1)); then
  echo "scripts/e2e.sh: not every way to capture passes the same tests" >&2
  exit 1
fi
