// SPDX-License-Identifier: Apache-2.0

//go:build netns

package ebpf

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/figure"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// balanceTurns is how often each contender has its turn.
const balanceTurns = 15

// proxyEnv names the product's proxy. Without it a plain relay alone is measured.
const proxyEnv = "SHUNT_PROXY_BINARY"

// contender is one way of a connection from a pod to an endpoint on the node.
type contender struct {
	name string
	// way readies it in a fresh pod, and returns whom to call and what ends it.
	way func(testing.TB, *bench) (dest string, end func())

	connectUS, rate []float64 // one for each turn
}

// bench is a fresh node and pod.
type bench struct {
	Node
	node, pod *testnet.Namespace
}

const (
	benchEndpoint = testnet.FarV4 + ":8080"
	benchService  = testnet.ServiceV4 + ":80"
)

func contenders(b *testing.B) []*contender {
	all := []*contender{
		{name: "direct", way: func(testing.TB, *bench) (string, func()) { return benchEndpoint, func() {} }},
		{name: "not-captured", way: func(t testing.TB, s *bench) (string, func()) { return benchEndpoint, s.load(t) }},
		{name: "balanced", way: balanced},
		{name: "plain-relay", way: func(t testing.TB, s *bench) (string, func()) {
			return benchService, s.relay(t, "/proc/self/exe", relayEnv+"="+benchEndpoint)
		}},
	}
	if proxy := os.Getenv(proxyEnv); proxy != "" {
		all = append(all, &contender{name: "proxy", way: func(t testing.TB, s *bench) (string, func()) {
			return benchService, s.relay(t, proxy, "POD_NAME=bench", "POD_NAMESPACE=bench", "POD_IPS="+testnet.PodV4)
		}})
	} else {
		b.Logf("%s names no proxy: a plain relay alone is measured", proxyEnv)
	}
	return all
}

// load attaches the programs until the returned function.
func (s *bench) load(t testing.TB) (end func()) {
	t.Helper()
	if _, err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := s.Unload(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func balanced(t testing.TB, s *bench) (string, func()) {
	end := s.load(t)
	apply(t, s.Node, s.pod, captureAll())
	to := Service{netip.MustParseAddrPort(benchService), []Endpoint{{netip.MustParseAddrPort(benchEndpoint), 1}}}
	if _, err := s.Balance(t.Context(), []Service{to}); err != nil {
		t.Fatal(err)
	}
	return benchService, end
}

// relay captures the pod for a program that runs as the proxy's user. By
// descriptor: that user may not read where it is.
func (s *bench) relay(t testing.TB, path string, env ...string) (end func()) {
	t.Helper()
	unload := s.load(t)
	apply(t, s.Node, s.pod, captureAll())
	binary, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	cmd := exec.Command("/proc/self/fd/3", "run", "-admin-socket=", "-log-level=error")
	cmd.ExtraFiles, cmd.Env, cmd.Stderr = []*os.File{binary}, env, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: contract.ProxyUID, Gid: contract.ProxyUID}}
	s.pod.Do(t, cmd.Start)
	end = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		unload()
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if err := s.burst(benchService, 0); err == nil {
			return end
		} else if time.Now().After(deadline) {
			end()
			t.Fatalf("%s doesn't relay: %v", path, err)
		}
	}
}

// BenchmarkBalance measures all contenders in turn, each time in a fresh pod.
func BenchmarkBalance(b *testing.B) {
	n := confine(b)
	all := contenders(b)
	for turn := range balanceTurns {
		for i := range all {
			all[(i+turn)%len(all)].measure(b, n)
		}
	}
	report(b, all)
	n.reportTables(b)
	b.ReportMetric(0, "ns/op")
}

func (c *contender) measure(b *testing.B, n Node) {
	s := &bench{Node: n}
	s.node, s.pod = testnet.Pair(b)
	testnet.AddAddrs(b, s.node, "lo", testnet.ServiceV4+"/32")
	defer serveEcho(b, s.node, benchEndpoint, benchService)()
	dest, end := c.way(b, s)
	defer end()
	best := 0.0
	for range bursts {
		rate, err := s.rate(dest)
		if err != nil {
			b.Fatalf("%s: %v", c.name, err)
		}
		best = max(best, rate)
	}
	c.rate = append(c.rate, best)
	took, err := s.connectTime(dest)
	if err != nil {
		b.Fatalf("%s: %v", c.name, err)
	}
	c.connectUS = append(c.connectUS, took)
}

// report prints a table, and the figures below it.
func report(b *testing.B, all []*contender) {
	var text strings.Builder
	fmt.Fprintf(&text, "median and [lowest to highest] of %d turns\n%-14s %30s %30s\n", balanceTurns, "", "connections/s", "connect us")
	by := map[string]*contender{}
	for _, c := range all {
		by[c.name] = c
		fmt.Fprintf(&text, "%-14s %30s %30s\n", c.name, spread(c.rate), spread(c.connectUS))
	}
	for against, name := range map[string]string{"direct": "direct", "not-captured": "not_captured", "plain-relay": "plain_relay", "proxy": "relay"} {
		if by[against] == nil {
			continue
		}
		each := figure.Ratios(by["balanced"].rate, by[against].rate)
		fmt.Fprintf(&text, "balanced to %-14s %s\n", against, spread(each))
		figure.Publish(b, "ebpf.lb.conn_rate_vs_"+name, fmt.Sprintf("%.4g", figure.Median(each)), "ratio")
	}
	b.Log(text.String())
	figure.Publish(b, "ebpf.lb.connect_added_us", fmt.Sprintf("%.4g", figure.Median(by["balanced"].connectUS)-figure.Median(by["direct"].connectUS)), "us")
}

// reportTables measures Balance itself.
func (n Node) reportTables(b *testing.B) {
	defer (&bench{Node: n}).load(b)()
	services := manyServices(10_000, 3)
	var first, same, one []float64
	timed := func(into *[]float64, want []Service) {
		begin := time.Now()
		if _, err := n.Balance(b.Context(), want); err != nil {
			b.Fatal(err)
		}
		*into = append(*into, float64(time.Since(begin).Microseconds())/1000)
	}
	var none []float64
	for turn := range balanceTurns {
		timed(&first, services)
		timed(&same, services)
		changed := slices.Clone(services)
		changed[turn] = Service{changed[turn].Addr, append(slices.Clone(changed[turn].Endpoints), endpoint(firstV4, 1))}
		timed(&one, changed)
		timed(&none, nil)
	}
	figure.Publish(b, "ebpf.lb.balance_10k_services_ms", fmt.Sprintf("%.4g", figure.Median(first)), "ms")
	figure.Publish(b, "ebpf.lb.balance_10k_one_change_ms", fmt.Sprintf("%.4g", figure.Median(one)), "ms")
	figure.Publish(b, "ebpf.lb.balance_10k_no_change_ms", fmt.Sprintf("%.4g", figure.Median(same)), "ms")
}

func spread(values []float64) string {
	return fmt.Sprintf("%.4g [%.4g to %.4g]", figure.Median(values), slices.Min(values), slices.Max(values))
}
