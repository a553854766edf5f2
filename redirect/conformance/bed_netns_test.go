// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/conformance"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// patience bounds every attempt. Nothing in the matrix is ever dropped, so that
// only a failure takes so long.
const patience = 5 * time.Second

// bed is a pod with its proxy's and its application's listeners, and a node that
// is the rest of the world.
type bed struct {
	node, pod          *testnet.Namespace
	sink               *testnet.Sink
	proxy, application []func() // close their listeners
	inPod              map[conformance.Sender]*testnet.Agent
	onNode             map[conformance.Sender]*testnet.Agent
	tokens             atomic.Uint64
}

func newBed(t testing.TB) *bed {
	b := &bed{sink: testnet.NewSink(), inPod: map[conformance.Sender]*testnet.Agent{}, onNode: map[conformance.Sender]*testnet.Agent{}}
	b.node, b.pod = testnet.Pair(t)
	testnet.Join(t, b.node, b.pod, conformance.SecondLink())
	testnet.ServePod(t, b.node)
	// A connection that the application ended first lives on for a minute, and
	// would take the packet of a caller that comes back from the same port.
	b.pod.Sysctl(t, "ipv4/tcp_max_tw_buckets", "0")
	testnet.AddAddrs(t, b.pod, "lo", addrTexts(conformance.OtherAddress)...)
	for _, l := range conformance.Listeners() {
		b.sink.Datagrams(t, b.pod, l.InPod, l.Port)
		b.sink.Datagrams(t, b.node, conformance.AtOutside, l.Port)
		b.sink.Listen(t, b.node, conformance.AtOutside, anywhere(l.Port), true)
		if l.Proxy {
			b.proxy = append(b.proxy, b.sink.Listen(t, b.pod, l.InPod, anywhere(l.Port), false))
		}
	}
	b.serve(t, conformance.Everywhere)
	for _, s := range conformance.Senders() {
		b.inPod[s] = b.pod.Agent(t, s.Credential())
		if s != conformance.ProxySource {
			b.onNode[s] = b.node.Agent(t, s.Credential())
		}
	}
	b.settle(t)
	return b
}

// serve has the application listen so, and no longer as before.
func (b *bed) serve(t testing.TB, how conformance.Listening) {
	t.Helper()
	for _, stop := range b.application {
		stop()
	}
	b.application = nil
	for _, l := range conformance.Listeners() {
		if l.Proxy {
			continue
		}
		for _, addr := range how.Addresses() {
			b.application = append(b.application, b.sink.Listen(t, b.pod, l.InPod, netip.AddrPortFrom(addr, l.Port), true))
		}
	}
}

// anywhere is every address of both families.
func anywhere(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.IPv6Unspecified(), port) }

// addrTexts are the addresses as those of an interface.
func addrTexts(l conformance.Listening) []string {
	var out []string
	for _, addr := range l.Addresses() {
		out = append(out, netip.PrefixFrom(addr, addr.BitLen()).String())
	}
	return out
}

// settleTime bounds how long the kernel of a busy machine may take to bring up
// a link.
const settleTime = 30 * time.Second

// settle returns when every way was gone once without rules: the kernel tells
// IPv6 of a new link by a worker that runs once a second, and until then its
// neighbours don't find it.
func (b *bed) settle(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(settleTime); ; {
		wrong := b.sendAll(conformance.Untouched().CellsWhile(conformance.Everywhere))
		if len(wrong) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections fail before anything is applied, such as %v", len(wrong), wrong[0])
		}
	}
}

// apply makes the pod match a Config, and has that checked.
func (b *bed) apply(t testing.TB, s subject, c redirect.Config) {
	t.Helper()
	p := plan(t, c)
	b.pod.Do(t, func() error {
		if _, err := s.backend.Apply(t.Context(), p); err != nil {
			return fmt.Errorf("apply: %w", err)
		}
		return s.backend.Check(t.Context(), p)
	})
}

func plan(t testing.TB, c redirect.Config) redirect.Plan {
	t.Helper()
	p, err := redirect.NewPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tries is how often a connection is opened that nobody answers. What goes from
// one namespace to another waits in a queue of 1000 packets for each processor
// (net.core.netdev_max_backlog): while a busy machine doesn't get to it, the
// kernel drops what comes beyond, and in patience TCP sends no more than three
// packets. Rules that drop do so each time.
const tries = 3

// attempt has a cell's sender open it.
func (b *bed) attempt(c conformance.Cell) (at testnet.Attempt, o testnet.Outcome, err error) {
	for range tries {
		at, o, err = b.attemptOnce(c)
		if err != nil || o.Op != "connect" || o.Errno != syscall.ETIMEDOUT {
			break
		}
	}
	return at, o, err
}

func (b *bed) attemptOnce(c conformance.Cell) (testnet.Attempt, testnet.Outcome, error) {
	agent := b.inPod[c.Sender]
	if c.Direction == conformance.Inbound {
		agent = b.onNode[c.Sender]
	}
	at := testnet.Attempt{
		Token: b.tokens.Add(1), UDP: c.Transport == conformance.UDP, MPTCP: c.Client == conformance.MPTCP,
		Source: c.Source(), Dest: c.Dest(), Patience: patience,
	}
	o, err := agent.Do(at)
	return at, o, err
}

// send opens a cell and returns what became of it. The source's port is left
// out: NAT gives another one where two connections would collapse into one.
func (b *bed) send(c conformance.Cell) (conformance.Verdict, error) {
	at, o, err := b.attempt(c)
	if err == nil && o.Refused() {
		return conformance.Verdict{At: conformance.Refused}, nil
	}
	if err == nil {
		err = o.Err()
	}
	if err != nil {
		return conformance.Verdict{}, err
	}
	a, ok := b.sink.Wait(at.Token, patience)
	if !ok {
		return conformance.Verdict{}, fmt.Errorf("send to %v: it arrived nowhere", at.Dest)
	}
	if at.MPTCP && !a.Multipath && (a.At == conformance.AtApplication || a.At == conformance.AtOutside) {
		return conformance.Verdict{}, fmt.Errorf("dial %v with MPTCP: it fell back to TCP on its way to %s", at.Dest, a.At)
	}
	return conformance.Verdict{At: a.At, Dest: a.Dest, Source: a.Source.Addr()}, nil
}
