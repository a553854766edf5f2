// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"strings"

	"github.com/shuntmesh/shunt/cni/agent/programs"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/backends/onnode"
)

// choice is the backend of a node: its name, "" where there is none, and in
// words why it is this one.
type choice struct {
	backend string
	reason  string
	// preferred was asked for and does not work, so that backend stands in for it;
	// "" where none does.
	preferred string
}

// insteadOf is the choice where another backend was asked for that need not be
// had, and does not work here.
func (c choice) insteadOf(preferred string, why error) choice {
	return choice{c.backend, fmt.Sprintf("%s was asked for by --backend, and does not work here: %s; instead %s", preferred, contract.OneLine(why.Error()), c.reason), preferred}
}

// choose takes what was asked for, a backend's name or backends.Auto, out of
// what was found by trying. A backend that was asked for and does not work is
// not replaced by another: who names one has a reason, and hears why not.
func choose(want string, found []backends.Detected) choice {
	var refused []string
	for _, d := range found {
		switch {
		case want == backends.Auto && d.Auto:
			return choice{backend: d.Backend, reason: strings.Join(append([]string{"the first that works here"}, refused...), "; ")}
		case want == d.Backend && d.Works:
			return choice{backend: d.Backend, reason: worksHere}
		case want == d.Backend:
			return choice{reason: fmt.Sprintf("%s was asked for by --backend, and does not work here: %s", want, contract.OneLine(d.Why))}
		case !d.Works:
			refused = append(refused, d.Backend+" does not: "+contract.OneLine(d.Why))
		}
	}
	return choice{reason: strings.Join(append([]string{"no backend works here"}, refused...), "; ")}
}

// mode is what the node's eBPF programs are to it.
func (c choice) mode() programs.Mode {
	switch onnode.EBPF {
	case c.backend:
		return programs.Used
	case c.preferred:
		return programs.Standby
	default:
		return programs.Unwanted
	}
}

const worksHere = "asked for by --backend, and it works here"
