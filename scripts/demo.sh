#!/usr/bin/env bash
# The demo: a real cluster, Shunt, and a gRPC client without and with it.
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  cat <<'USAGE'
usage: scripts/demo.sh [flags of `demo run`]

Builds Shunt, starts a two-node cluster on this machine, installs Shunt into it
and plays the demo. All stays up; scripts/demo-down.sh removes it.

  SHUNT_CAPTURE=cni       who captures the pods' traffic, as `shuntctl install --capture`
                          takes it (init)
  SHUNT_CLUSTER=current   use the cluster of $KUBECONFIG instead; its nodes have to
                          hold the images, or to be able to pull them from
  SHUNT_IMAGE_REGISTRY=R  this registry, which the images are pushed to first
USAGE
  exit 0
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

started=$(date +%s)
step() { printf '==> %s\n' "$*" >&2; }

step "building Shunt"
make --no-print-directory build
CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/demo ./test/demo

install=(--capture "${SHUNT_CAPTURE:-init}")
run=()
if [[ ${SHUNT_CLUSTER:-} == current ]]; then
  if [[ -n ${SHUNT_IMAGE_REGISTRY:-} ]]; then
    step "pushing images to $SHUNT_IMAGE_REGISTRY"
    bin/shuntctl images push --bin-dir bin --image-registry "$SHUNT_IMAGE_REGISTRY"
    bin/demo image -image-registry "$SHUNT_IMAGE_REGISTRY"
    install+=(--image-registry "$SHUNT_IMAGE_REGISTRY")
    run=(-image "$SHUNT_IMAGE_REGISTRY/demo:$(bin/shuntctl version)")
  fi
else
  step "starting a cluster"
  scripts/install-prerequisites.sh
  go build -C test/cluster -o ../../bin/cluster .
  root=()
  # sudo has a PATH of its own, and go may not be in it.
  ((EUID == 0)) || root=(sudo env "PATH=$PATH")
  "${root[@]}" bin/cluster up
  KUBECONFIG=$("${root[@]}" bin/cluster kubeconfig)
  if ((EUID != 0)); then
    (umask 077 && "${root[@]}" cat "$KUBECONFIG" >bin/kubeconfig)
    KUBECONFIG=$PWD/bin/kubeconfig
  fi
  export KUBECONFIG
  step "loading images"
  bin/shuntctl images save --bin-dir bin -o bin/images
  bin/demo image -o bin/images/demo.tar
  "${root[@]}" bin/cluster load-image bin/images/dataplane.tar bin/images/controlplane.tar bin/images/node.tar bin/images/demo.tar
fi

step "installing Shunt"
bin/shuntctl install "${install[@]}"
step "playing the demo"
bin/demo run -started "$started" "${run[@]}" "$@"
