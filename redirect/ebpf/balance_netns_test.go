// SPDX-License-Identifier: Apache-2.0

//go:build netns

package ebpf

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// Endpoints, all of them addresses of the node. Each answers with its name.
const (
	firstV4  = "10.66.1.1"
	secondV4 = "10.66.1.2"
	thirdV4  = "10.66.1.3"
	firstV6  = "fd66:1::1"
	secondV6 = "fd66:1::2"
)

// shop is a pod in which all is captured, and a node with two services, 80 and
// 81, whose addresses are there too: who calls them past everything reaches "vip".
type shop struct {
	Node
	node, pod *testnet.Namespace
}

func newShop(t testing.TB) shop {
	t.Helper()
	s := shop{Node: loaded(t)}
	s.node, s.pod = testnet.Pair(t)
	testnet.AddAddrs(t, s.node, "lo",
		firstV4+"/32", secondV4+"/32", thirdV4+"/32", firstV6+"/128", secondV6+"/128",
		testnet.ServiceV4+"/32", testnet.ServiceV6+"/128")
	apply(t, s.Node, s.pod, captureAll())
	return s
}

// serve has each address say its name at port 8080, and the services' "vip".
func (s shop) serve(t *testing.T) {
	t.Helper()
	for _, a := range []string{firstV4, secondV4, thirdV4, firstV6, secondV6} {
		serveName(t, s.node, named(a), netip.AddrPortFrom(netip.MustParseAddr(a), 8080).String())
	}
	for _, a := range []string{testnet.ServiceV4, testnet.ServiceV6} {
		serveName(t, s.node, named("vip"), netip.AddrPortFrom(netip.MustParseAddr(a), 80).String())
	}
	serveName(t, s.pod, named("proxy"), "[::]:15001")
}

// named pads a name, so that all are of one length.
func named(name string) string { return fmt.Sprintf("%-12s", name) }

// balance makes the table these services'.
func (s shop) balance(t testing.TB, want Balanced, services ...Service) {
	t.Helper()
	got, err := s.Balance(t.Context(), services)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("balance: %+v, want %+v", got, want)
	}
}

// service has endpoints at port 8080, all of weight 1.
func service(addr string, endpoints ...string) Service {
	s := Service{Addr: netip.MustParseAddrPort(addr)}
	for _, e := range endpoints {
		s.Endpoints = append(s.Endpoints, endpoint(e, 1))
	}
	return s
}

func endpoint(addr string, weight uint32) Endpoint {
	return Endpoint{netip.AddrPortFrom(netip.MustParseAddr(addr), 8080), weight}
}

// call returns who answers at port 80 of an address, and checks which addresses
// the socket shows.
func (s shop) call(t testing.TB, addr string) (name string, err error) {
	t.Helper()
	dest := netip.MustParseAddr(addr)
	var own, peer netip.AddrPort
	s.pod.Do(t, func() error {
		own, peer, name, err = call(dest, "")
		return nil
	})
	if err != nil {
		return "", err
	}
	if want := netip.AddrPortFrom(dest, 80); peer != want {
		t.Errorf("call %s: the peer's name is %v, want %v", addr, peer, want)
	}
	if a := own.Addr().Unmap().String(); a != testnet.PodV4 && a != testnet.PodV6 {
		t.Errorf("call %s: the own name is %v", addr, own)
	}
	return name, nil
}

func (s shop) counted(t testing.TB, name string) uint64 {
	t.Helper()
	status, err := s.Status()
	if err != nil {
		t.Fatal(err)
	}
	return status.Counters[name]
}

// TestBalanceGoesToEndpoints over both families, and by an IPv4 address mapped
// into IPv6. What is no service goes to the proxy.
func TestBalanceGoesToEndpoints(t *testing.T) {
	s := newShop(t)
	s.serve(t)
	serveName(t, s.pod, named("itself"), testnet.PodV4+":8080")
	s.balance(
		t, Balanced{Changed: 3},
		service(testnet.ServiceV4+":80", firstV4),
		service("["+testnet.ServiceV6+"]:80", firstV6),
		service(testnet.OtherServiceV4+":80", testnet.PodV4),
	)
	for addr, want := range map[string]string{
		testnet.ServiceV4:             firstV4,
		"::ffff:" + testnet.ServiceV4: firstV4,
		testnet.ServiceV6:             firstV6,
		testnet.NodeV4:                "proxy",
		testnet.OtherServiceV6:        "proxy",
		testnet.OtherServiceV4:        "itself",
		"::ffff:" + testnet.FarV4:     "proxy",
	} {
		if got, err := s.call(t, addr); err != nil || got != want {
			t.Errorf("call %s: %q, %v, want %s", addr, got, err, want)
		}
	}
	if got := s.counted(t, "balanced"); got != 4 {
		t.Errorf("balanced: %d, want 4", got)
	}
	// Another port of the same address is another service.
	s.balance(t, Balanced{Changed: 4}, service(testnet.ServiceV4+":81", firstV4))
	if got, err := s.call(t, testnet.ServiceV4); err != nil || got != "proxy" {
		t.Errorf("a service that is none any more: %q, %v, want the proxy", got, err)
	}
}

// TestBalanceByWeight holds shares within five standard deviations.
func TestBalanceByWeight(t *testing.T) {
	s := newShop(t)
	s.serve(t)
	want := service(testnet.ServiceV4 + ":80")
	weights := map[string]uint32{firstV4: 600, secondV4: 200, thirdV4: 0}
	for addr, weight := range weights {
		want.Endpoints = append(want.Endpoints, endpoint(addr, weight))
	}
	s.balance(t, Balanced{Changed: 1}, want)
	const calls = 1200
	got := map[string]int{}
	for range calls {
		name, err := s.call(t, testnet.ServiceV4)
		if err != nil {
			t.Fatal(err)
		}
		got[name]++
	}
	for addr, weight := range weights {
		p := float64(weight) / 800
		if off := math.Abs(float64(got[addr]) - p*calls); off > 5*math.Sqrt(calls*p*(1-p)) {
			t.Errorf("%s of weight %d: %d of %d", addr, weight, got[addr], calls)
		}
	}
}

// TestBalanceWithoutEndpoints refuses at once, as if nobody listened.
func TestBalanceWithoutEndpoints(t *testing.T) {
	s := newShop(t)
	s.serve(t)
	idle := service("[" + testnet.ServiceV6 + "]:80")
	idle.Endpoints = []Endpoint{endpoint(firstV6, 0)}
	s.balance(t, Balanced{Changed: 2}, service(testnet.ServiceV4+":80"), idle)
	for _, addr := range []string{testnet.ServiceV4, testnet.ServiceV6} {
		if got, err := s.call(t, addr); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("call %s: %q, %v, want %v", addr, got, err, unix.ECONNREFUSED)
		}
	}
	if got := s.counted(t, "refused_no_endpoint"); got != 2 {
		t.Errorf("refused_no_endpoint: %d, want 2", got)
	}
	s.balance(t, Balanced{Changed: 1}, service(testnet.ServiceV4+":80", firstV4), idle)
	if got, err := s.call(t, testnet.ServiceV4); err != nil || got != firstV4 {
		t.Errorf("with an endpoint: %q, %v", got, err)
	}
}

// TestBalanceLeavesAlone whom the policy leaves alone: the proxy's own user, what
// the Config excludes, and pods without a policy.
func TestBalanceLeavesAlone(t *testing.T) {
	s := newShop(t)
	sink := testnet.NewSink()
	for name, addr := range map[string]string{"vip": testnet.ServiceV4 + ":80", "endpoint": firstV4 + ":8080"} {
		sink.Listen(t, s.node, name, netip.MustParseAddrPort(addr), false)
	}
	s.balance(t, Balanced{Changed: 1}, service(testnet.ServiceV4+":80", firstV4))
	application := s.pod.Agent(t, testnet.Credential{UID: 1000, GID: 1000})
	proxy := s.pod.Agent(t, testnet.Credential{UID: contract.ProxyUID, GID: contract.ProxyUID})
	token := uint64(0)
	reaches := func(who string, a *testnet.Agent, want string) {
		t.Helper()
		token++
		o, err := a.Do(testnet.Attempt{Token: token, Dest: netip.MustParseAddrPort(testnet.ServiceV4 + ":80"), Patience: 5 * time.Second})
		if err := errors.Join(err, o.Err()); err != nil {
			t.Fatalf("%s: %v", who, err)
		}
		if got, _ := sink.Wait(token, 5*time.Second); got.At != want {
			t.Errorf("%s reaches %q, want %q", who, got.At, want)
		}
	}
	reaches("the application", application, "endpoint")
	reaches("the proxy", proxy, "vip")
	config := captureAll()
	config.ExcludeOutboundPorts = []contract.PortRange{{First: 80, Last: 80}}
	apply(t, s.Node, s.pod, config)
	reaches("an excluded port", application, "vip")
	remove(t, s.Node, s.pod)
	reaches("a pod that is not captured", application, "vip")
}

// TestBalanceIsIdempotent and needs no memory: another Node value finds that
// nothing has to change, in whatever order the same is wanted.
func TestBalanceIsIdempotent(t *testing.T) {
	s := newShop(t)
	one, other := service(testnet.ServiceV4+":80", firstV4, secondV4), service("["+testnet.ServiceV6+"]:80", firstV6)
	s.balance(t, Balanced{Changed: 2}, one, other)
	before := s.table(t)
	s.Node = Node{BPFFS: s.BPFFS, CgroupRoot: s.CgroupRoot}
	one.Endpoints[0], one.Endpoints[1] = one.Endpoints[1], one.Endpoints[0]
	s.balance(t, Balanced{}, other, one)
	if after := s.table(t); after != before {
		t.Errorf("table after: %s, before: %s", after, before)
	}
	if got, want := before, "2 services, 3 slots, 0 removals"; got != want {
		t.Errorf("table: %s, want %s", got, want)
	}
	status, err := s.Status()
	if err != nil || status.Services != 2 {
		t.Errorf("status: %+v, %v, want 2 services", status, err)
	}
	s.balance(t, Balanced{Changed: 2})
	if got := s.table(t); got != emptyTable {
		t.Errorf("table after all: %s, want %s", got, emptyTable)
	}
}

const emptyTable = "0 services, 0 slots, 0 removals"

// table says how much is pinned.
func (s shop) table(t testing.TB) string {
	t.Helper()
	m, err := openBalanceMaps(s.layout())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	services, _, errServices := readAll[place, slotKey](m.services)
	slots, _, errSlots := readAll[slotKey, place](m.slots)
	removals, _, errRemovals := readAll[removal, uint32](m.removals)
	if err := errors.Join(errServices, errSlots, errRemovals); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d services, %d slots, %d removals", len(services), len(slots), len(removals))
}

// TestBalanceWithoutNode is an error, unless there is nothing to do.
func TestBalanceWithoutNode(t *testing.T) {
	n := confine(t)
	_, err := n.Balance(t.Context(), []Service{service(testnet.ServiceV4 + ":80")})
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "no programs are loaded") {
		t.Errorf("balance: %v, want it unsupported", err)
	}
	if got, err := n.Balance(t.Context(), nil); err != nil || got != (Balanced{}) {
		t.Errorf("balance nothing: %+v, %v", got, err)
	}
}
