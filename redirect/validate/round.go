// SPDX-License-Identifier: Apache-2.0

package validate

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/shuntmesh/shunt/redirect"
)

const (
	// roundTime is how long connections may take to arrive. Inside of a pod they
	// need some hundred microseconds; one that a busy machine delays is tried
	// again in the next round.
	roundTime = 60 * time.Millisecond
	// graceTime is given to what should arrive nowhere, after something that was
	// sent later has arrived.
	graceTime = 2 * time.Millisecond
	// lateTime is given beyond that to what should arrive here. The kernel accepts
	// connections inside of a pod in the order in which they were opened, or almost.
	lateTime = 10 * time.Millisecond
	// doubtTime is given beyond the round to what somebody has answered that should
	// arrive nowhere: a server outside, or a listener of ours that was kept waiting.
	doubtTime = 240 * time.Millisecond
)

// finding is what one round showed.
type finding struct {
	wrong []*redirect.Difference
	notes []string // what of a family can't be tried, and why that is no fault
	tried int
}

// round tries every case once. The error is for what keeps it from trying.
func round(ctx context.Context, p redirect.Plan, o Owner) (finding, error) {
	var f finding
	s := newStage()
	defer s.close()
	var places []Place
	var fence *Place
	for _, family := range p.Families {
		around, err := look(family)
		if err != nil {
			return f, err
		}
		f.notes = append(f.notes, around.notes(family.Family)...)
		inside, err := s.furnish(p, family.Family, around)
		if err != nil {
			return f, err
		}
		if len(inside) > 0 && fence == nil && inside[len(inside)-1].Addr.IsLoopback() {
			fence = &inside[len(inside)-1]
		}
		places = append(append(places, inside...), around.outside...)
	}
	cases := Cases(p, o, places)
	outcomes, err := s.try(ctx, cases, fence)
	if err != nil {
		return f, err
	}
	f.tried = len(cases)
	f.notes = append(f.notes, uncaptured(o, cases)...)
	for i, c := range cases {
		if d := judge(c, outcomes[i]); d != nil {
			f.wrong = append(f.wrong, d)
		}
	}
	return f, nil
}

// notes say what of a family can't be tried.
func (s surroundings) notes(f redirect.Family) []string {
	switch {
	case !s.own.IsValid() && !s.loopback.IsValid():
		return []string{fmt.Sprintf("%v: the pod has no address", f)}
	case len(s.outside) == 0:
		return []string{fmt.Sprintf("%v: no route leads out of the pod, so nothing can leave it", f)}
	default:
		return nil
	}
}

// uncaptured names the families of which nothing that leaves the pod is to be
// captured: for an application that is somebody's choice, for the proxy it is
// what keeps its connections from coming back to it.
func uncaptured(o Owner, cases []Case) []string {
	var out []string
	for _, f := range []redirect.Family{redirect.IPv4, redirect.IPv6} {
		leaves, captured := false, false
		for _, c := range cases {
			if c.Want.Family == f && !c.Ours {
				leaves, captured = true, captured || c.Want.Action == redirect.Capture
			}
		}
		if leaves && !captured {
			out = append(out, fmt.Sprintf("%v: nothing of uid %d that leaves is captured", f, o.UID))
		}
	}
	return out
}

// furnish listens in the place of the proxy and of an application, and returns
// the application's places, the loopback one last. Nobody but the pod reaches
// the proxy's: what is captured inside of it arrives over loopback.
func (s *stage) furnish(p redirect.Plan, f redirect.Family, around surroundings) ([]Place, error) {
	if around.loopback.IsValid() {
		for _, port := range proxyPorts(p, f) {
			if _, err := s.listen(netip.AddrPortFrom(around.loopback, port)); err != nil {
				return nil, hintListen(err)
			}
		}
	}
	var places []Place
	for _, addr := range []netip.Addr{around.own, around.loopback} {
		if !addr.IsValid() {
			continue
		}
		port, err := s.listen(netip.AddrPortFrom(addr, 0))
		if err != nil {
			return nil, err
		}
		places = append(places, Place{Addr: addr, Port: port, Interface: interfaceLoopback})
	}
	return places, nil
}

// interfaceLoopback is through what the pod reaches itself.
const interfaceLoopback = "lo"
