// SPDX-License-Identifier: Apache-2.0

// Package manifests holds the Kubernetes objects of Shunt's control plane as a
// kustomize base. `shuntctl install` applies what is embedded here; `kubectl
// apply -k manifests/base` applies the same. It performs no I/O.
package manifests

import "embed"

// Base is the kustomize base, below the folder "base". The resources of its
// kustomization.yaml are listed in the order in which they have to be applied.
//
//go:embed base/*.yaml
var Base embed.FS
