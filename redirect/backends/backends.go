// SPDX-License-Identifier: Apache-2.0

// Package backends knows which redirect.Backends there are, and uses one of
// them: the first that works, or the one that was named. What the others hold
// is taken away, so that no two steer the same connections. Like a Backend, it
// acts in the network namespace of the calling thread.
package backends

import (
	"fmt"
	"strings"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/iptables"
	"github.com/shuntmesh/shunt/redirect/nftables"
)

// Auto is the name that stands for the first backend that works here.
const Auto = "auto"

// Backend is a redirect.Backend under the name by which people choose it.
type Backend struct {
	redirect.Backend
	Name string
	// Forced backends are part of one that is not, and chosen by name alone.
	Forced bool
	// Preferred backends are chosen by name alone too. Who names one wants it where
	// it works and can do what is asked, and else what Auto comes to.
	Preferred bool
}

// All returns all that need nothing of their node, in the order in which they
// are tried.
func All() []Backend {
	return []Backend{
		{Backend: nftables.Backend{}, Name: "nftables"},
		{Backend: iptables.Backend{}, Name: "iptables"},
		{Backend: iptables.Backend{Variant: iptables.NFT}, Name: "iptables-nft", Forced: true},
		{Backend: iptables.Backend{Variant: iptables.Legacy}, Name: "iptables-legacy", Forced: true},
	}
}

// Choice is what a name chooses: the backends that may be used, in order, and
// those whose rules must not stand beside theirs.
type Choice struct {
	use, others []Backend
	// held may have been used before, by a name that is no longer said: what they
	// hold is read and removed, and nothing is made with them.
	held []Backend
}

// Choose returns the choice that a name of all makes, or Auto. An unknown name
// is an error that says which there are.
func Choose(name string, all []Backend) (Choice, error) {
	var c Choice
	names := []string{Auto}
	prefers := false
	for _, candidate := range all {
		names = append(names, candidate.Name)
		switch {
		case candidate.Name == name:
			c.use = append(c.use, candidate)
			prefers = candidate.Preferred
		case name == Auto && candidate.automatic():
			c.use = append(c.use, candidate)
		case !candidate.Forced && !strings.HasPrefix(name, candidate.Name+"-"):
			c.others = append(c.others, candidate)
		}
	}
	switch {
	case len(c.use) == 0:
		return Choice{}, fmt.Errorf("value %q is not possible (allowed: %s)", name, strings.Join(names, ", "))
	case prefers:
		c.use, c.others = append(c.use, c.others...), nil
	case name == Auto:
		c.held = c.others
	}
	return c, nil
}

// automatic reports whether Auto may come to it.
func (b Backend) automatic() bool { return !b.Forced && !b.Preferred }
