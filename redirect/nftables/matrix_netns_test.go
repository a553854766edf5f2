// SPDX-License-Identifier: Apache-2.0

//go:build netns

package nftables_test

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
	"github.com/shuntmesh/shunt/redirect/nftables"
)

func TestMain(m *testing.M) {
	if testnet.Child() {
		return
	}
	os.Exit(m.Run())
}

const (
	proxy = contract.ProxyUID
	app   = 1000
)

// flow is one connection and where it must arrive: "15001" and "15006" are the
// proxy's ports, "app" the application, "far" a server outside of the pod. The
// proxy must see the destination that was dialled, the others the address that
// dialled.
type flow struct {
	name     string
	outside  bool // dialled by the node, not in the pod
	uid, gid uint32
	source   string
	dst      string
	want     string
}

// TestMatrix sends real connections through real namespaces.
func TestMatrix(t *testing.T) {
	t.Run("everything", func(t *testing.T) {
		c := captureAll()
		c.ExcludeInboundPorts = []contract.PortRange{{First: 8081, Last: 8081}, {First: 9000, Last: 9010}}
		c.ExcludeOutboundPorts = []contract.PortRange{{First: 9100, Last: 9110}}
		c.ExcludeOutboundCIDRs = prefixes("10.77.0.0/24", "fd77::/64")
		run(t, c, both([]flow{
			{name: "inbound", outside: true, dst: "POD:8080", want: "15006"},
			{name: "inbound to no listener", outside: true, dst: "POD:4444", want: "15006"},
			{name: "inbound to the proxy's own port", outside: true, dst: "POD:15001", want: "15006"},
			{name: "inbound excluded", outside: true, dst: "POD:8081", want: "app"},
			{name: "inbound at the begin of an excluded range", outside: true, dst: "POD:9000", want: "app"},
			{name: "inbound at the end of an excluded range", outside: true, dst: "POD:9010", want: "app"},
			{name: "inbound behind an excluded range", outside: true, dst: "POD:9011", want: "15006"},
			{name: "inbound tunnel", outside: true, dst: "POD:15008", want: "app"},
			{name: "outbound", uid: app, gid: app, dst: "NODE:80", want: "15001"},
			{name: "outbound as root", dst: "NODE:80", want: "15001"},
			{name: "outbound excluded range", uid: app, gid: app, dst: "NODE:9105", want: "far"},
			{name: "outbound before the excluded range", uid: app, gid: app, dst: "NODE:9099", want: "15001"},
			{name: "outbound excluded CIDR", uid: app, gid: app, dst: "FAR:80", want: "far"},
			{name: "outbound of the proxy's uid", uid: proxy, gid: app, dst: "NODE:80", want: "far"},
			{name: "outbound of the proxy's gid", uid: app, gid: proxy, dst: "NODE:80", want: "far"},
			{name: "own IP by the application", uid: app, gid: app, dst: "POD:8080", want: "app"},
			{name: "own IP by the proxy", uid: proxy, gid: proxy, dst: "POD:8080", want: "15006"},
			{name: "own IP by the proxy's gid", uid: app, gid: proxy, dst: "POD:8080", want: "15006"},
			{name: "own IP by the proxy from the dial source", uid: proxy, gid: proxy, source: "SIX", dst: "POD:8080", want: "app"},
			{name: "own tunnel by the proxy", uid: proxy, gid: proxy, dst: "POD:15008", want: "app"},
			{name: "localhost by the application", uid: app, gid: app, dst: "LO:7070", want: "app"},
			{name: "localhost by the proxy", uid: proxy, gid: proxy, dst: "LO:7070", want: "app"},
			{name: "port of localhost by the proxy from the dial source", uid: proxy, gid: proxy, source: "SIX", dst: "POD:7070", want: "refused"},
		}))
	})
	t.Run("only what is named", func(t *testing.T) {
		c := redirect.DefaultConfig()
		c.IncludeInboundPorts.Ranges = []contract.PortRange{{First: 8080, Last: 8080}, {First: 9000, Last: 9005}}
		c.ExcludeInboundPorts = []contract.PortRange{{First: 9001, Last: 9001}}
		c.IncludeOutboundCIDRs.Prefixes = prefixes("10.77.0.0/24", "fd77::/64")
		c.IncludeOutboundPorts = []contract.PortRange{{First: 9099, Last: 9099}}
		run(t, c, both([]flow{
			{name: "inbound included", outside: true, dst: "POD:8080", want: "15006"},
			{name: "inbound included range", outside: true, dst: "POD:9000", want: "15006"},
			{name: "inbound excluded from the range", outside: true, dst: "POD:9001", want: "app"},
			{name: "inbound not named", outside: true, dst: "POD:8081", want: "app"},
			{name: "outbound included CIDR", uid: app, gid: app, dst: "FAR:80", want: "15001"},
			{name: "outbound included port", uid: app, gid: app, dst: "NODE:9099", want: "15001"},
			{name: "outbound not named", uid: app, gid: app, dst: "NODE:80", want: "far"},
		}))
	})
	t.Run("IPv4 alone", func(t *testing.T) {
		c := captureAll()
		c.IPv6 = false
		run(t, c, []flow{
			{name: "inbound IPv4", outside: true, dst: testnet.PodV4 + ":8080", want: "15006"},
			{name: "inbound IPv6", outside: true, dst: "[" + testnet.PodV6 + "]:8080", want: "app"},
			{name: "outbound IPv6", uid: app, dst: "[" + testnet.NodeV6 + "]:80", want: "far"},
		})
	})
}

func captureAll() redirect.Config {
	c := redirect.DefaultConfig()
	c.IncludeInboundPorts.All, c.IncludeOutboundCIDRs.All = true, true
	return c
}

// newPod makes a pod with its proxy and application, and a node with servers.
func newPod(t *testing.T) (node, pod *testnet.Namespace) {
	node, pod = testnet.Pair(t)
	for _, port := range []string{"15001", "15006"} {
		pod.Listen(t, port, "[::]:"+port)
	}
	for _, port := range []string{"8080", "8081", "9000", "9001", "9010", "9011", "15008"} {
		pod.Listen(t, "app", "[::]:"+port)
	}
	pod.Listen(t, "app", "127.0.0.1:7070")
	pod.Listen(t, "app", "[::1]:7070")
	for _, port := range []string{"80", "9099", "9105"} {
		node.Listen(t, "far", "[::]:"+port)
	}
	return node, pod
}

func run(t *testing.T, c redirect.Config, flows []flow) {
	node, pod := newPod(t)
	apply(t, pod, c)
	for _, f := range flows {
		t.Run(f.name, func(t *testing.T) {
			var got string
			switch {
			case f.outside:
				_, got = node.Dial(t, f.source, f.dst)
			default:
				got = pod.DialAs(t, f.uid, f.gid, f.source, f.dst)
			}
			if f.want == "refused" {
				if !strings.Contains(got, "connection refused") {
					t.Fatalf("%s: got %q, want a refusal", f.dst, got)
				}
				return
			}
			where, rest, _ := strings.Cut(got, " ")
			dst, remote, _ := strings.Cut(rest, " ")
			if where != f.want || dst != f.dst {
				t.Errorf("got %q, want it to arrive at %s for %s", got, f.want, f.dst)
			}
			if f.outside && remote != nodeAddr(f.dst) {
				t.Errorf("got %q, want the caller's address %s to be seen", got, nodeAddr(f.dst))
			}
		})
	}
}

func nodeAddr(dst string) string {
	if netip.MustParseAddrPort(dst).Addr().Is4() {
		return testnet.NodeV4
	}
	return testnet.NodeV6
}

// both makes each flow one of IPv4 and one of IPv6.
func both(flows []flow) []flow {
	v4 := strings.NewReplacer("POD", testnet.PodV4, "NODE", testnet.NodeV4, "FAR", testnet.FarV4, "LO", "127.0.0.1", "SIX", "127.0.0.6")
	v6 := strings.NewReplacer("POD", "["+testnet.PodV6+"]", "NODE", "["+testnet.NodeV6+"]", "FAR", "["+testnet.FarV6+"]", "LO", "[::1]", "SIX", "::6")
	var out []flow
	for _, f := range flows {
		four, six := f, f
		four.name, four.dst, four.source = f.name+" v4", v4.Replace(f.dst), v4.Replace(f.source)
		six.name, six.dst, six.source = f.name+" v6", v6.Replace(f.dst), v6.Replace(f.source)
		out = append(out, four, six)
	}
	return out
}

func apply(t *testing.T, ns *testnet.Namespace, c redirect.Config) (changed bool) {
	t.Helper()
	p := plan(t, c)
	ns.Do(t, func() (err error) {
		changed, err = nftables.Backend{}.Apply(t.Context(), p)
		return err
	})
	return changed
}

func plan(t *testing.T, c redirect.Config) redirect.Plan {
	t.Helper()
	p, err := redirect.NewPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}
