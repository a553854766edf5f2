// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/netns"
)

// Detected says whether a backend works on this host.
type Detected struct {
	Backend string `json:"backend"`
	Works   bool   `json:"works"`
	Auto    bool   `json:"auto"` // it is what Auto comes to here
	// ClosedPorts is what it makes of redirect.ClosedAuto; "" where it doesn't work.
	ClosedPorts string `json:"closedPorts,omitempty"`
	Why         string `json:"why,omitempty"` // why it doesn't work, or why it captures closed ports
}

// Detect tries each backend, in a network namespace that goes with the attempt:
// it applies a plan with a rule of every kind, reads it back and removes it. It
// needs CAP_SYS_ADMIN. None may work; then none is Auto. Those that are Preferred
// are left out: they needn't do every kind, and whoever owns them tries them.
func Detect(ctx context.Context, all []Backend) ([]Detected, error) {
	plan, err := fullPlan()
	if err != nil {
		return nil, err
	}
	var found []Detected
	taken := false
	for _, b := range all {
		if b.Preferred {
			continue
		}
		d := detect(ctx, b, plan)
		d.Auto = d.Works && !taken && b.automatic()
		taken = taken || d.Auto
		found = append(found, d)
	}
	return found, nil
}

func detect(ctx context.Context, b Backend, p redirect.Plan) Detected {
	d := Detected{Backend: b.Name, Works: true, ClosedPorts: redirect.ClosedRefuse.String()}
	attempt := func(p redirect.Plan) error {
		return netns.Throwaway(func() error { return try(ctx, b, p) })
	}
	err := attempt(p)
	if err == nil {
		return d
	}
	d.ClosedPorts, d.Why = redirect.ClosedCapture.String(), err.Error()
	if !errors.Is(err, errors.ErrUnsupported) || attempt(p.CapturingClosed()) != nil {
		d.Works, d.ClosedPorts = false, ""
	}
	return d
}

// try applies, reads back and removes.
func try(ctx context.Context, b redirect.Backend, p redirect.Plan) error {
	if _, err := b.Apply(ctx, p); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	if err := b.Check(ctx, p); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	if err := b.Remove(ctx); err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	return nil
}

// fullPlan has a rule of every kind, in both families.
func fullPlan() (redirect.Plan, error) {
	c := redirect.DefaultConfig()
	ports := []contract.PortRange{{First: 80, Last: 90}, {First: 443, Last: 443}}
	prefixes := []netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2}), 24),                         // RFC 5737
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8}), 32).Masked(), // RFC 3849
	}
	c.IncludeInboundPorts.Ranges, c.IncludeOutboundPorts = ports, ports
	c.ExcludeInboundPorts, c.ExcludeOutboundPorts = ports, ports
	c.IncludeInboundCIDRs.Prefixes, c.IncludeOutboundCIDRs.Prefixes = prefixes, prefixes
	c.ExcludeInboundCIDRs, c.ExcludeOutboundCIDRs = prefixes, prefixes
	c.OwnerGroups, c.ExcludeOwnerGroups = []uint32{1}, []uint32{2}
	c.ExcludeInterfaces = []string{"shunt0"}
	c.DropInvalid = true
	return redirect.NewPlan(c)
}
