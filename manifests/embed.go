// SPDX-License-Identifier: Apache-2.0

// Package manifests holds the Kubernetes objects of Shunt, for kustomize: a base
// with the control plane, a component with the part that runs on every node, and
// overlays. `shuntctl install` applies what is embedded here; `kubectl apply -k`
// applies the same. It performs no I/O.
package manifests

import "embed"

// Files are the kustomizations that shuntctl installs: the folders "base",
// "components/node", "overlays/cni" and "overlays/ebpf". The resources of a kustomization.yaml are
// listed in the order in which they have to be applied.
//
//go:embed base/*.yaml components/*/*.yaml overlays/cni/*.yaml overlays/ebpf/*.yaml
var Files embed.FS
