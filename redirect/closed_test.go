// SPDX-License-Identifier: Apache-2.0

package redirect_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/redirect"
)

// TestCapturingClosed makes of a plan what a Config that asks for it has, and
// leaves the plan itself as it is.
func TestCapturingClosed(t *testing.T) {
	c := redirect.DefaultConfig()
	c.IncludeInboundPorts.Ranges, c.IncludeInboundCIDRs.Prefixes = ports(t, "80"), cidrs(t, "10.0.0.0/8,fd00::/8")
	auto := newPlan(t, c)
	before := auto.String()
	c.ClosedPorts = redirect.ClosedCapture
	if diff := cmp.Diff(newPlan(t, c).String(), auto.CapturingClosed().String()); diff != "" {
		t.Errorf("(-what capture plans +CapturingClosed):\n%s", diff)
	}
	if after := auto.String(); after != before || !strings.Contains(after, " listened -> ") {
		t.Errorf("the plan itself, before:\n%s\nafter:\n%s", before, after)
	}
}

// TestMayCaptureClosed only where the Config leaves it open, and where there is
// something to capture.
func TestMayCaptureClosed(t *testing.T) {
	for closed, want := range map[redirect.ClosedPorts]bool{redirect.ClosedAuto: true, redirect.ClosedRefuse: false, redirect.ClosedCapture: false} {
		c := redirect.DefaultConfig()
		c.ClosedPorts = closed
		if newPlan(t, c).MayCaptureClosed {
			t.Errorf("%v: nothing inbound is captured, yet it may capture closed ports", closed)
		}
		c.IncludeInboundPorts.All = true
		if got := newPlan(t, c).MayCaptureClosed; got != want {
			t.Errorf("%v: may capture closed ports: %v, want %v", closed, got, want)
		}
	}
}

func TestParseClosedPorts(t *testing.T) {
	for _, want := range []redirect.ClosedPorts{redirect.ClosedAuto, redirect.ClosedRefuse, redirect.ClosedCapture} {
		if got, err := redirect.ParseClosedPorts(want.String()); err != nil || got != want {
			t.Errorf("parse %v: %v, %v", want, got, err)
		}
	}
	for _, bad := range []string{"", "Refuse", "on", "ClosedPorts(3)"} {
		if got, err := redirect.ParseClosedPorts(bad); err == nil || !strings.Contains(err.Error(), "allowed: refuse, capture, or auto") {
			t.Errorf("parse %q: %v, %v; want what is allowed", bad, got, err)
		}
	}
}

func newPlan(t *testing.T, c redirect.Config) redirect.Plan {
	t.Helper()
	p, err := redirect.NewPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
