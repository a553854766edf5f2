// SPDX-License-Identifier: Apache-2.0

package validate

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"sync"
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

// outcome is what became of a case.
type outcome struct {
	arrived arrival // its port is 0 where none of our listeners saw it
	ended   bool    // the connection stands, or failed with err
	err     error
}

// sent is what the connection of a case says.
type sent struct {
	number int
	err    error
}

// try opens the cases one after the other, and the fence behind them, and waits
// until it is known what became of each.
func (s *stage) try(ctx context.Context, cases []Case, fence *Place) ([]outcome, error) {
	if fence != nil {
		flow := redirect.Flow{Dest: netip.AddrPortFrom(fence.Addr, fence.Port)}
		cases = append(cases[:len(cases):len(cases)], Case{Flow: flow, Want: redirect.Verdict{Action: redirect.Pass}, Ours: true})
	}
	tokens := make([]token, len(cases))
	for i := range tokens {
		if _, err := rand.Read(tokens[i][:]); err != nil {
			return nil, fmt.Errorf("make token: %w", err)
		}
	}
	var writers sync.WaitGroup
	defer writers.Wait()
	said := make(chan sent, len(cases))
	end := time.Now().Add(roundTime)
	for i, c := range cases {
		conn, err := dial(c)
		if err != nil {
			said <- sent{i, err}
			continue
		}
		defer conn.Close()
		writers.Go(func() { said <- sent{i, send(conn, tokens[i], end)} })
	}
	return s.collect(ctx, cases, tokens, said, fence != nil), nil
}

func send(conn net.Conn, t token, end time.Time) error {
	_ = conn.SetWriteDeadline(end) // it has none but where it is closed
	_, err := conn.Write(t[:])
	return err
}

// collect returns when every case is decided, or the round is over.
func (s *stage) collect(ctx context.Context, cases []Case, tokens []token, said <-chan sent, fenced bool) []outcome {
	outcomes := make([]outcome, len(cases))
	number := make(map[token]int)
	for i, t := range tokens {
		number[t] = i
	}
	over, grace := time.After(roundTime), (<-chan time.Time)(nil)
	if !fenced {
		grace = time.After(graceTime)
	}
	calm := false
	for !decided(cases, outcomes, calm) {
		select {
		case a := <-s.arrivals:
			if i, ours := number[a.token]; ours {
				outcomes[i].arrived = a
				if fenced && i == len(cases)-1 {
					grace = time.After(graceTime)
				}
			}
		case r := <-said:
			outcomes[r.number].ended, outcomes[r.number].err = true, r.err
		case <-grace:
			calm = true
		case <-over:
			return outcomes
		case <-ctx.Done():
			return outcomes
		}
	}
	return outcomes
}

// decided reports whether no more time would change what is known. calm is when
// what was sent has had time enough to arrive.
func decided(cases []Case, outcomes []outcome, calm bool) bool {
	for i, o := range outcomes {
		nowhere := cases[i].Want.Action == redirect.Pass && !cases[i].Ours
		known := o.arrived.at != 0 || o.err != nil || nowhere && calm
		if !known {
			return false
		}
	}
	return true
}
