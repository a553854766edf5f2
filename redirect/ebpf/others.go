// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Other is a program of somebody else's at one of our hooks.
type Other struct {
	Hook    string `json:"hook"`
	Program string `json:"program"`
	Owner   string `json:"owner,omitempty"` // where its name tells
}

// String returns "cil_sock4_connect at CGroupInet4Connect (Cilium's socket load balancer: ...)".
func (o Other) String() string {
	if o.Owner == "" {
		return o.Program + " at " + o.Hook
	}
	return fmt.Sprintf("%s at %s (%s)", o.Program, o.Hook, o.Owner)
}

// ciliumSocketLB rewrites a service's address in connect() as we do. Where it
// comes first, we see an endpoint and not the service.
const ciliumSocketLB = "Cilium's socket load balancer; it must leave pods alone: socketLB.hostNamespaceOnly=true"

// Others lists who else is attached where our programs are, or above. They run
// beside ours: whoever rewrites an address first decides what the other sees.
func (n Node) Others() ([]Other, error) {
	group, err := os.Open(n.CgroupRoot)
	if err != nil {
		return nil, fmt.Errorf("open control group: %w", err)
	}
	defer group.Close()
	ours, err := n.ownPrograms()
	if err != nil {
		return nil, err
	}
	var out []Other
	for _, h := range hooks() {
		found, err := link.QueryPrograms(link.QueryOptions{Target: int(group.Fd()), Attach: h.at, QueryFlags: queryEffective})
		if err != nil {
			return nil, fmt.Errorf("ask who is attached at %v: %w", h.at, hint(err))
		}
		for _, p := range found.Programs {
			if !slices.Contains(ours, p.ID) {
				out = append(out, other(h, p.ID))
			}
		}
	}
	return out, nil
}

// queryEffective asks for the programs of the groups above too (BPF_F_QUERY_EFFECTIVE).
const queryEffective = 1

func other(h hook, id ebpf.ProgramID) Other {
	o := Other{Hook: h.at.String(), Program: fmt.Sprintf("program %d", id)}
	program, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return o // it has gone, or we may not look
	}
	defer program.Close()
	if info, err := program.Info(); err == nil && info.Name != "" {
		o.Program = info.Name
	}
	if strings.HasPrefix(o.Program, "cil_sock") {
		o.Owner = ciliumSocketLB
	}
	return o
}

func (n Node) ownPrograms() ([]ebpf.ProgramID, error) {
	var out []ebpf.ProgramID
	for _, h := range hooks() {
		l, err := link.LoadPinnedLink(n.layout().link(h.program), nil)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open link of %s: %w", h.program, hint(err))
		}
		info, err := l.Info()
		_ = l.Close()
		if err != nil {
			return nil, fmt.Errorf("inspect link of %s: %w", h.program, hint(err))
		}
		out = append(out, info.Program)
	}
	return out, nil
}
