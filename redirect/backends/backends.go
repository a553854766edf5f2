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
}

// All returns all there are, in the order in which they are tried.
func All() []Backend {
	return []Backend{
		{nftables.Backend{}, "nftables", false},
		{iptables.Backend{}, "iptables", false},
		{iptables.Backend{Variant: iptables.NFT}, "iptables-nft", true},
		{iptables.Backend{Variant: iptables.Legacy}, "iptables-legacy", true},
	}
}

// Choice is what a name chooses: the backends that may be used, in order, and
// those whose rules must not stand beside theirs.
type Choice struct {
	use, others []Backend
}

// Choose returns the choice that a name of all makes, or Auto. An unknown name
// is an error that says which there are.
func Choose(name string, all []Backend) (Choice, error) {
	var c Choice
	names := []string{Auto}
	for _, candidate := range all {
		names = append(names, candidate.Name)
		switch {
		case candidate.Name == name, name == Auto && !candidate.Forced:
			c.use = append(c.use, candidate)
		case !candidate.Forced && !strings.HasPrefix(name, candidate.Name+"-"):
			c.others = append(c.others, candidate)
		}
	}
	if len(c.use) == 0 {
		return Choice{}, fmt.Errorf("value %q is not possible (allowed: %s)", name, strings.Join(names, ", "))
	}
	return c, nil
}
