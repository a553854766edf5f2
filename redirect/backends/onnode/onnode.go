// SPDX-License-Identifier: Apache-2.0

// Package onnode knows which backends a node has: all of package backends, and
// the one that works through eBPF programs, which are the node's. It is a package
// of its own since the command that each pod's init container runs has no use for
// that one, and would be a quarter larger.
package onnode

import (
	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/ebpf"
)

// EBPF is the name of the backend that only nodes have.
const EBPF = "ebpf"

// Backends returns all that a node has. The node's agent pins the programs below
// bpffs; where that is "" there are none.
func Backends(bpffs string) []backends.Backend {
	all := backends.All()
	if bpffs == "" {
		return all
	}
	return append(all, backends.Backend{Backend: ebpf.Backend{BPFFS: bpffs}, Name: EBPF, Preferred: true})
}
