// SPDX-License-Identifier: Apache-2.0

//go:build netns

package ebpf

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect/internal/testnet"
	"github.com/shuntmesh/shunt/redirect/netns"
)

// called is what some goroutine of callers was told.
type called struct {
	names map[string]int
	errs  []error
}

// callOn calls an address again and again from several goroutines until stop.
func (s shop) callOn(t *testing.T, addr string) (stop func() called) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	all := called{names: map[string]int{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			err := netns.In(s.pod.Path(), func() error {
				for ctx.Err() == nil {
					_, _, name, err := call(netip.MustParseAddr(addr), "")
					mu.Lock()
					if all.names[name]++; err != nil {
						all.errs = append(all.errs, err)
					}
					mu.Unlock()
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	return func() called {
		cancel()
		wg.Wait()
		return all
	}
}

// TestBalanceChangesAtOnce under callers: each connection goes to an endpoint of
// the table before or of the one after, and from the moment that Balance returns
// to one of the latter.
func TestBalanceChangesAtOnce(t *testing.T) {
	s := newShop(t)
	s.serve(t)
	with := func(weights ...uint32) Service {
		return Service{netip.MustParseAddrPort(testnet.ServiceV4 + ":80"), []Endpoint{
			endpoint(firstV4, weights[0]), endpoint(secondV4, weights[1]), endpoint(thirdV4, weights[2]),
		}}
	}
	// 256 slots and 1: who mixes them finds none. Nobody is removed, so that no
	// connection is ended either.
	turns := []Service{with(199, 57, 0), with(0, 0, 1)}
	s.balance(t, Balanced{Changed: 1}, turns[1])
	stop := s.callOn(t, testnet.ServiceV4)
	const changes = 200
	for i := range changes {
		s.balance(t, Balanced{Changed: 1}, turns[i%2])
		name, err := s.call(t, testnet.ServiceV4)
		if err != nil || (name == thirdV4) != (i%2 == 1) {
			t.Fatalf("after change %d: %q, %v", i, name, err)
		}
	}
	got := stop()
	for _, err := range got.errs {
		t.Errorf("while endpoints changed: %v", err)
	}
	t.Logf("%d changes: %v", changes, got.names)
	if len(got.names) != 3 || got.names[thirdV4] < changes || got.names[firstV4] < changes {
		t.Errorf("%d changes: %v: the test shows nothing", changes, got.names)
	}
}

// TestRemovedUnderCallers ends a connection at most, and refuses none; when
// Balance has returned, none is open to the endpoint that is gone.
func TestRemovedUnderCallers(t *testing.T) {
	s := newShop(t)
	s.serve(t)
	inhabit(t, s.pod)
	endpoints := []string{firstV4, secondV4}
	stop := s.callOn(t, testnet.ServiceV4)
	type opened struct {
		net.Conn
		name string
	}
	var open []opened
	for i := range 50 {
		name, last := endpoints[i%2], endpoints[(i+1)%2]
		if _, err := s.Balance(t.Context(), []Service{service(testnet.ServiceV4+":80", name)}); err != nil {
			t.Fatal(err)
		}
		for _, c := range open {
			if err := echo(c); (err == nil) != (c.name == name) || c.name == last && !errors.Is(err, unix.ECONNABORTED) {
				t.Fatalf("change %d to %s: connection to %s: %v", i, name, c.name, err)
			}
		}
		open = []opened{{s.open(t, testnet.ServiceV4+":80", name), name}}
	}
	got := stop()
	for _, err := range got.errs {
		if !errors.Is(err, unix.ECONNABORTED) {
			t.Errorf("while endpoints were removed: %v", err)
		}
	}
	t.Logf("%v, %d ended", got.names, len(got.errs))
	delete(got.names, "")
	delete(got.names, "proxy") // before the first table
	if len(got.names) != 2 {
		t.Errorf("%v: the test shows nothing", got.names)
	}
}

// TestKilledBalance is finished by the next, wherever it was killed.
func TestKilledBalance(t *testing.T) {
	for name, until := range map[string]func(change) change{
		"noted":   func(c change) change { return change{removals: c.removals} },
		"written": func(c change) change { return change{removals: c.removals, keys: c.keys, places: c.places} },
		"holds":   func(c change) change { return c },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			s.serve(t)
			inhabit(t, s.pod)
			s.balance(t, Balanced{Changed: 1}, service(testnet.ServiceV4+":80", firstV4))
			c := s.open(t, testnet.ServiceV4+":80", firstV4)
			next := service(testnet.ServiceV4+":80", secondV4)
			s.killed(t, next, until)
			want := Balanced{Changed: 1, Destroyed: 1}
			if name == "holds" {
				want.Changed = 0
			}
			s.balance(t, want, next)
			if err := echo(c); !errors.Is(err, unix.ECONNABORTED) {
				t.Errorf("connection to a removed endpoint: %v", err)
			}
			if got, want := s.table(t), "1 services, 1 slots, 0 removals"; got != want {
				t.Errorf("table: %s, want %s", got, want)
			}
			s.open(t, testnet.ServiceV4+":80", secondV4)
		})
	}
}

// killed does a part of a Balance.
func (s shop) killed(t *testing.T, next Service, part func(change) change) {
	t.Helper()
	m, err := openBalanceMaps(s.layout())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	now, err := m.read()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.publish(part(now.changeTo(wanted(t, next)))); err != nil {
		t.Fatal(err)
	}
}

// TestNoProcessesToBeFound is said, and finished when they are.
func TestNoProcessesToBeFound(t *testing.T) {
	s := newShop(t)
	s.serve(t)
	s.balance(t, Balanced{Changed: 1}, service(testnet.ServiceV4+":80", firstV4))
	c := s.open(t, testnet.ServiceV4+":80", firstV4)
	next := service(testnet.ServiceV4+":80", secondV4)
	lost := s.Node
	lost.Proc = t.TempDir()
	for range 2 {
		if got, err := lost.Balance(t.Context(), []Service{next}); err == nil || !slices.Contains([]int{0, 1}, got.Changed) {
			t.Errorf("without /proc: %+v, %v", got, err)
		}
	}
	s.open(t, testnet.ServiceV4+":80", secondV4) // the table holds
	inhabit(t, s.pod)
	s.balance(t, Balanced{Destroyed: 1}, next)
	if err := echo(c); !errors.Is(err, unix.ECONNABORTED) {
		t.Errorf("connection to a removed endpoint: %v", err)
	}
}

// TestUpgradeKeepsBalancing takes the table over, and refuses nobody.
func TestUpgradeKeepsBalancing(t *testing.T) {
	s := newShop(t)
	s.serve(t)
	s.balance(t, Balanced{Changed: 1}, service(testnet.ServiceV4+":80", firstV4))
	open := s.open(t, testnet.ServiceV4+":80", firstV4)
	stop := s.callOn(t, testnet.ServiceV4)
	if changed, err := s.load(t.Context(), nextVersion(t)); err != nil || !changed {
		t.Fatalf("upgrade: changed %v, %v", changed, err)
	}
	got := stop()
	if len(got.errs) > 0 || len(got.names) != 1 || got.names[firstV4] == 0 {
		t.Errorf("while programs were replaced: %v, %v", got.names, got.errs)
	}
	if err := echo(open); err != nil {
		t.Error(err)
	}
	s.balance(t, Balanced{}, service(testnet.ServiceV4+":80", firstV4))
}

// TestKernelWithoutDestroy has all the rest. Such a kernel doesn't know the
// function by name.
func TestKernelWithoutDestroy(t *testing.T) {
	const function, unknown = "bpf_sock_destroy", "bpf_sock_unknown"
	n := confine(t)
	if !bytes.Contains(_ProgramsBytes, []byte(function)) {
		t.Fatalf("the programs don't ask for %s", function)
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(bytes.ReplaceAll(_ProgramsBytes, []byte(function), []byte(unknown))))
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := n.load(t.Context(), spec); err != nil || !changed {
		t.Fatalf("load: changed %v, %v", changed, err)
	}
	s, err := n.Status()
	if err != nil || s.Ends != "SOCK_DESTROY" {
		t.Errorf("status: %+v, %v, want SOCK_DESTROY to end connections", s, err)
	}
	if err := n.SelfTest(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestManyServices fit, and take time that a node can spare.
func TestManyServices(t *testing.T) {
	s := newShop(t)
	services := manyServices(10_000, 3)
	took := func(what string, want Balanced, services []Service) {
		t.Helper()
		begin := time.Now()
		s.balance(t, want, services...)
		t.Logf("%s: %v", what, time.Since(begin))
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("%s took %v", what, d)
		}
	}
	took("the first table", Balanced{Changed: 10_000}, services)
	took("no change", Balanced{}, services)
	services[4711].Endpoints = append(services[4711].Endpoints, endpoint(firstV4, 1))
	took("one change", Balanced{Changed: 1}, services)
	if got, want := s.table(t), "10000 services, 30001 slots, 0 removals"; got != want {
		t.Errorf("table: %s, want %s", got, want)
	}
	took("no table", Balanced{Changed: 10_000}, nil)
	if got := s.table(t); got != emptyTable {
		t.Errorf("table after all: %s, want %s", got, emptyTable)
	}
}
