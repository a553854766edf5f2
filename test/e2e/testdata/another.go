// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// another makes programs differ from those of this version and do the same: each
// has an instruction more. scripts/e2e.sh builds an agent with it, which replaces
// the programs of ours as the next version's would, and is replaced by ours.
func another(spec *ebpf.CollectionSpec) *ebpf.CollectionSpec {
	for _, p := range spec.Programs {
		p.Instructions = slices.Insert(p.Instructions, 1, asm.Mov.Imm(asm.R0, 0))
	}
	return spec
}
