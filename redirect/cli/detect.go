// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
)

// detected says whether a backend works on this host.
type detected struct {
	Backend string `json:"backend"`
	Works   bool   `json:"works"`
	Auto    bool   `json:"auto"` // --backend auto takes it
	Why     string `json:"why,omitempty"`
}

// detect tries each backend in a network namespace of its own that goes with
// the attempt. It is an error where none works.
func (c command) detect(ctx context.Context, env Env) error {
	plan, err := fullPlan()
	if err != nil {
		return err
	}
	var found []detected
	taken := false
	for _, b := range env.Backends {
		d := detected{Backend: b.Name, Works: true}
		if err := inThrowaway(func() error { return try(ctx, b, plan) }); err != nil {
			d.Works, d.Why = false, err.Error()
		}
		d.Auto = d.Works && !taken && !b.Forced
		taken = taken || d.Auto
		found = append(found, d)
	}
	if err := write(env.Stdout, c.format, found, func() string { return detectText(found) }); err != nil {
		return err
	}
	if !taken {
		return errors.New("no backend works here")
	}
	return nil
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

// inThrowaway calls f in a fresh network namespace. Its thread is never
// unlocked: the runtime throws it away, and the namespace goes with it.
func inThrowaway(f func() error) error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace to try in: %w (CAP_SYS_ADMIN is needed)", err)
		}
		return f()
	})
}

func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

func detectText(found []detected) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "BACKEND\tWORKS\tWHY NOT")
	for _, d := range found {
		works := "no"
		switch {
		case d.Auto:
			works = "yes, auto takes it"
		case d.Works:
			works = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", d.Backend, works, strings.ReplaceAll(d.Why, "\n", "; "))
	}
	_ = w.Flush() // into memory
	return b.String()
}
