// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// newStub loads the program that is attached to a pod's namespace. The kernel
// tells an sk_lookup program nothing by which it could know whose packet it has
// before it: the stub is what knows. It writes its namespace's cookie down and
// goes on with the node's program, which is thus replaced for all pods at once.
// Where there is none, nothing that arrives gets in. Being without types it loads
// in a fraction of a millisecond.
func newStub(m *podMaps, cookie uint64) (*ebpf.Program, error) {
	const drop, end = 0, "end"
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:       "shunt_pod",
		Type:       ebpf.SkLookup,
		AttachType: ebpf.AttachSkLookup,
		License:    "Dual MIT/GPL",
		Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1), // the context
			// cookie is kept at key 0 of arriving
			asm.StoreImm(asm.RFP, -4, 0, asm.Word),
			asm.LoadMapPtr(asm.R1, m.arriving.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, end),
			asm.LoadImm(asm.R1, int64(cookie), asm.DWord),
			asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
			// go on with key 0 of lookups
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.LoadMapPtr(asm.R2, m.lookups.FD()),
			asm.Mov.Imm(asm.R3, 0),
			asm.FnTailCall.Call(),
			asm.Mov.Imm(asm.R0, drop).WithSymbol(end),
			asm.Return(),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("load the pod's program: %w", hint(err))
	}
	return program, nil
}
