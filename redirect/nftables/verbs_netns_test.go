// SPDX-License-Identifier: Apache-2.0

//go:build netns

package nftables_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
	"github.com/shuntmesh/shunt/redirect/nftables"
)

func TestApplyIsIdempotent(t *testing.T) {
	ns := testnet.New(t)
	c := captureAll()
	if !apply(t, ns, c) {
		t.Error("first apply: no change, want one")
	}
	before := handles(t, ns)
	if apply(t, ns, c) {
		t.Error("second apply: a change, want none")
	}
	if after := handles(t, ns); after != before {
		t.Errorf("second apply made new rules: handles %s, before %s", after, before)
	}
	if err := check(t, ns, c); err != nil {
		t.Error(err)
	}
	c.ExcludeInboundPorts = []contract.PortRange{{First: 8081, Last: 8081}}
	if err := check(t, ns, c); !isDifference(err) {
		t.Errorf("check before the new config is applied: %v, want a difference", err)
	}
	if !apply(t, ns, c) {
		t.Error("apply of a new config: no change, want one")
	}
	if err := check(t, ns, c); err != nil {
		t.Error(err)
	}
}

// TestApplyKeepsConnections replaces the rules under open connections.
func TestApplyKeepsConnections(t *testing.T) {
	node, pod := newPod(t)
	c := captureAll()
	apply(t, pod, c)
	in, greeting := node.Dial(t, "", testnet.PodV4+":8080")
	if !strings.HasPrefix(greeting, "15006 ") {
		t.Fatalf("greeting %q, want the inbound port's", greeting)
	}
	out, greeting := pod.Dial(t, "", testnet.NodeV4+":80")
	if !strings.HasPrefix(greeting, "15001 ") {
		t.Fatalf("greeting %q, want the outbound port's", greeting)
	}
	c.ExcludeInboundPorts = []contract.PortRange{{First: 8080, Last: 8080}}
	c.ExcludeOutboundCIDRs = prefixes("10.66.0.0/24")
	apply(t, pod, c)
	for _, conn := range []interface {
		Read([]byte) (int, error)
		Write([]byte) (int, error)
	}{in, out} {
		buf := make([]byte, 4)
		if _, err := conn.Write([]byte("ping")); err != nil {
			t.Error(err)
		}
		if _, err := conn.Read(buf); err != nil || string(buf) != "ping" {
			t.Errorf("echo over the old connection: %q, %v", buf, err)
		}
	}
	if _, greeting := node.Dial(t, "", testnet.PodV4+":8080"); !strings.HasPrefix(greeting, "app ") {
		t.Errorf("new connection: greeting %q, want the application's", greeting)
	}
}

// TestListsChangeInPlace fills the sets of changed lists and touches nothing
// else: the rules keep their handles, and so their counters.
func TestListsChangeInPlace(t *testing.T) {
	node, pod := newPod(t)
	c := captureAll()
	c.ExcludeInboundPorts = []contract.PortRange{{First: 8081, Last: 8081}}
	c.ExcludeOutboundCIDRs = prefixes("10.77.0.0/24", "fd77::/64")
	apply(t, pod, c)
	before := handles(t, pod)
	conn, greeting := node.Dial(t, "", testnet.PodV4+":8080")
	if !strings.HasPrefix(greeting, "15006 ") {
		t.Fatalf("greeting %q, want the inbound port's", greeting)
	}
	c.ExcludeInboundPorts = []contract.PortRange{{First: 8080, Last: 8082}, {First: 9000, Last: 9010}}
	c.ExcludeOutboundCIDRs = prefixes("10.66.0.0/24", "fd66::/64")
	if !apply(t, pod, c) {
		t.Error("apply of other lists: no change, want one")
	}
	if after := handles(t, pod); after != before {
		t.Errorf("handles after: %s, before: %s", after, before)
	}
	if err := check(t, pod, c); err != nil {
		t.Error(err)
	}
	if _, greeting := node.Dial(t, "", testnet.PodV4+":8080"); !strings.HasPrefix(greeting, "app ") {
		t.Errorf("new connection: greeting %q, want the application's", greeting)
	}
	if _, greeting := pod.Dial(t, "", testnet.NodeV4+":80"); !strings.HasPrefix(greeting, "far ") {
		t.Errorf("new connection: greeting %q, want that of the server outside", greeting)
	}
	buf := make([]byte, 4)
	if _, err := conn.Write([]byte("ping")); err != nil {
		t.Error(err)
	}
	if _, err := conn.Read(buf); err != nil || string(buf) != "ping" {
		t.Errorf("echo over the old connection: %q, %v", buf, err)
	}
}

// TestEveryCondition checks what the kernel gives back for each.
func TestEveryCondition(t *testing.T) {
	c := captureAll()
	c.OwnerGroups, c.ExcludeOwnerGroups = []uint32{0, 7}, []uint32{8, 9}
	c.IncludeInboundPorts = redirect.Ports{Ranges: []contract.PortRange{{First: 80, Last: 90}}}
	c.IncludeInboundCIDRs.Prefixes = prefixes("10.1.0.0/16", "fd01::/16")
	c.ExcludeInboundCIDRs = prefixes("10.2.0.0/16", "fd02::/16")
	c.IncludeOutboundPorts = []contract.PortRange{{First: 443, Last: 443}}
	c.ExcludeInterfaces = []string{"net1", "fifteen-letters"}
	c.DropInvalid = true
	ns := testnet.New(t)
	apply(t, ns, c)
	if err := check(t, ns, c); err != nil {
		t.Error(err)
	}
	if apply(t, ns, c) {
		t.Error("second apply: a change, want none")
	}
	c.IPv4 = false
	c.IncludeInboundCIDRs.Prefixes, c.ExcludeInboundCIDRs = prefixes("fd01::/16"), nil
	apply(t, ns, c)
	if err := check(t, ns, c); err != nil {
		t.Error(err)
	}
	if got := handles(t, ns); strings.Contains(got, "table 2/shunt") {
		t.Errorf("without IPv4: %s", got)
	}
}

func TestCheckNamesTheDifference(t *testing.T) {
	c := captureAll()
	c.ExcludeInboundPorts = []contract.PortRange{{First: 9000, Last: 9010}}
	tests := []struct {
		name   string
		tamper func(*nft.Conn) error
		want   []string
	}{
		{
			"rule deleted", func(conn *nft.Conn) error { return conn.DelRule(rules(conn, "inbound")[3]) },
			[]string{"ipv4 inbound rule 4", "want tcp port exclude_inbound_ports{9000-9010} -> pass", "found rule 5"},
		},
		{
			"last rule deleted", func(conn *nft.Conn) error { return conn.DelRule(rules(conn, "inbound")[4]) },
			[]string{"ipv4 inbound rule 5", "found no rule"},
		},
		{"condition deleted", func(conn *nft.Conn) error {
			r := rules(conn, "inbound")[4] // which the library reads without "socket"
			conn.ReplaceRule(r)
			return nil
		}, []string{"ipv4 inbound rule 5", "want tcp listened -> capture", "a rule that is not ours (Meta"}},
		{"condition added", func(*nft.Conn) error {
			return exec.Command("sh", "-c", "nft flush chain ip shunt inbound && nft add rule ip shunt inbound rt classid 1 return").Run()
		}, []string{"ipv4 inbound rule 1", "a rule that is not ours (rt{"}},
		{"rule added", func(conn *nft.Conn) error {
			r := rules(conn, "outbound")[4]
			r.Handle, r.Position, r.Exprs = 0, 0, r.Exprs[len(r.Exprs)-1:]
			conn.InsertRule(r)
			return nil
		}, []string{"ipv4 outbound rule 1", "a rule that is not ours (Verdict"}},
		{"rule appended", func(conn *nft.Conn) error {
			r := rules(conn, "inbound")[0]
			r.Handle = 0
			conn.AddRule(r)
			return nil
		}, []string{"ipv4 inbound rule 6", "want no rule", "found rule 1"}},
		{"element added", func(conn *nft.Conn) error {
			return conn.SetAddElements(namedSet(conn, "exclude_inbound_ports"), []nft.SetElement{{Key: []byte{0, 80}}, {Key: []byte{0, 81}, IntervalEnd: true}})
		}, []string{"table ip shunt set exclude_inbound_ports_", "want inet_service { 9000-9010 }", "found inet_service { 80, 9000-9010 }"}},
		{"set emptied", func(conn *nft.Conn) error {
			conn.FlushSet(namedSet(conn, "exclude_inbound_ports"))
			return nil
		}, []string{"set exclude_inbound_ports_", "found inet_service {  }"}},
		{"chain added", func(conn *nft.Conn) error {
			conn.AddChain(&nft.Chain{Name: "more", Table: ours(nft.TableFamilyIPv4)})
			return nil
		}, []string{"table ip shunt chains", "more"}},
		{"set left over", func(conn *nft.Conn) error {
			return conn.AddSet(&nft.Set{Table: ours(nft.TableFamilyIPv4), Name: "loopback_01234567", KeyType: nft.TypeIPAddr, Interval: true}, nil)
		}, []string{"table ip shunt sets", "loopback_01234567"}},
		{"chain hooked in elsewhere", func(conn *nft.Conn) error {
			t := ours(nft.TableFamilyIPv4)
			conn.FlushChain(&nft.Chain{Name: "outbound", Table: t})
			conn.DelChain(&nft.Chain{Name: "outbound", Table: t})
			conn.AddChain(&nft.Chain{Name: "outbound", Table: t, Type: nft.ChainTypeFilter, Hooknum: nft.ChainHookOutput, Priority: nft.ChainPriorityFilter})
			return nil
		}, []string{"table ip shunt chains", "outbound (filter hook"}},
		{"chain that others jump to", func(conn *nft.Conn) error {
			t := ours(nft.TableFamilyIPv4)
			conn.AddChain(&nft.Chain{Name: "more", Table: t})
			conn.AddRule(&nft.Rule{Table: t, Chain: &nft.Chain{Name: "inbound", Table: t}, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: "more"}}})
			return nil
		}, []string{"table ip shunt chains", "more"}},
		{"table put to sleep", func(*nft.Conn) error {
			// The library sends no flags.
			return exec.Command("nft", "add table ip shunt { flags dormant; }").Run()
		}, []string{"table ip shunt", "1 is dormant"}},
		{"table deleted", func(conn *nft.Conn) error {
			conn.DelTable(ours(nft.TableFamilyIPv6))
			return nil
		}, []string{"table ip6 shunt", "found no such table"}},
		{"address removed", func(*nft.Conn) error {
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			addr, err := netlink.ParseAddr("::6/128")
			return errors.Join(err, netlink.AddrDel(lo, addr))
		}, []string{"loopback interface", "want ::6/128"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ns := testnet.New(t)
			apply(t, ns, c)
			ns.Do(t, func() error {
				conn, err := nft.New()
				if err != nil {
					return err
				}
				return errors.Join(tt.tamper(conn), conn.Flush())
			})
			err := check(t, ns, c)
			if !isDifference(err) {
				t.Fatalf("check: %v, want a difference", err)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("check says %q, want it to say %q", err, part)
				}
			}
			if !apply(t, ns, c) {
				t.Error("apply: no change, want a repair")
			}
			if err := check(t, ns, c); err != nil {
				t.Errorf("after the repair: %v", err)
			}
		})
	}
}

// TestRemove finds the namespace as it was before, with the tables of others.
func TestRemove(t *testing.T) {
	ns := testnet.New(t)
	ns.Do(t, func() error {
		conn, err := nft.New()
		if err != nil {
			return err
		}
		foreign := conn.AddTable(&nft.Table{Name: "shunt", Family: nft.TableFamilyINet})
		conn.AddRule(&nft.Rule{Table: foreign, Chain: conn.AddChain(&nft.Chain{Name: "theirs", Table: foreign})})
		conn.AddTable(&nft.Table{Name: "shunt2", Family: nft.TableFamilyIPv4})
		return conn.Flush()
	})
	before := handles(t, ns)
	remove(t, ns) // of what is not there
	apply(t, ns, captureAll())
	if handles(t, ns) == before {
		t.Fatal("apply left no trace to remove")
	}
	remove(t, ns)
	if after := handles(t, ns); after != before {
		t.Errorf("after remove: %s, want %s", after, before)
	}
	remove(t, ns)
}

func TestHolds(t *testing.T) {
	ns := testnet.New(t)
	holds := func() (holds bool) {
		ns.Do(t, func() (err error) {
			holds, err = nftables.Backend{}.Holds(t.Context())
			return err
		})
		return holds
	}
	if holds() {
		t.Error("an untouched namespace holds something")
	}
	apply(t, ns, captureAll())
	if !holds() {
		t.Error("after apply, the namespace holds nothing")
	}
}

func TestIPv6SwitchedOff(t *testing.T) {
	ns := testnet.New(t)
	ns.Sysctl(t, "ipv6/conf/all/disable_ipv6", "1")
	c := captureAll()
	apply(t, ns, c)
	if err := check(t, ns, c); err != nil {
		t.Error(err)
	}
	if apply(t, ns, c) {
		t.Error("second apply: a change, want none")
	}
	// Switched on later, the address is missing, is named, and is repaired.
	ns.Sysctl(t, "ipv6/conf/all/disable_ipv6", "0")
	if err := check(t, ns, c); !isDifference(err) {
		t.Errorf("check: %v, want a difference", err)
	}
	apply(t, ns, c)
	if err := check(t, ns, c); err != nil {
		t.Error(err)
	}
	// A config without IPv6 takes table and address away again.
	c.IPv6 = false
	if err := check(t, ns, c); !isDifference(err) {
		t.Errorf("check without IPv6: %v, want a difference", err)
	}
	apply(t, ns, c)
	if got := handles(t, ns); strings.Contains(got, "10/shunt ") || strings.Contains(got, "::6") {
		t.Errorf("left behind: %s", got)
	}
}

// TestLongestLists applies as much as a Config can hold.
func TestLongestLists(t *testing.T) {
	c := captureAll()
	c.IncludeOutboundCIDRs = redirect.CIDRs{Prefixes: prefixes("0.0.0.0/0", "::/0")}
	c.ProxyUIDs, c.ProxyGIDs = nil, nil
	for i := range uint32(16) {
		c.ProxyUIDs, c.ProxyGIDs = append(c.ProxyUIDs, 2000+i), append(c.ProxyGIDs, 2000+i)
	}
	var ports []contract.PortRange
	for i := range uint16(1024) {
		ports = append(ports, contract.PortRange{First: 1 + 64*i, Last: 1 + 64*i})
		addr := netip.AddrFrom4([4]byte{11, byte(i >> 8), byte(i), 0})
		c.ExcludeOutboundCIDRs = append(c.ExcludeOutboundCIDRs, netip.PrefixFrom(addr, 25))
	}
	c.ExcludeInboundPorts, c.ExcludeOutboundPorts, c.IncludeOutboundPorts = ports, ports, ports
	ns := testnet.New(t)
	apply(t, ns, c)
	if err := check(t, ns, c); err != nil {
		t.Error(err)
	}
	if apply(t, ns, c) {
		t.Error("second apply: a change, want none")
	}
}

func check(t *testing.T, ns *testnet.Namespace, c redirect.Config) (err error) {
	t.Helper()
	p := plan(t, c)
	ns.Do(t, func() error {
		err = nftables.Backend{}.Check(t.Context(), p)
		return nil
	})
	return err
}

func remove(t *testing.T, ns *testnet.Namespace) {
	t.Helper()
	ns.Do(t, func() error { return nftables.Backend{}.Remove(t.Context()) })
}

func isDifference(err error) bool {
	var d *redirect.Difference
	return errors.As(err, &d)
}

// handles lists all that is in a namespace: tables, chains, rules with their
// handles, and the addresses of the loopback interface.
func handles(t *testing.T, ns *testnet.Namespace) string {
	t.Helper()
	var b strings.Builder
	ns.Do(t, func() error {
		conn, err := nft.New()
		if err != nil {
			return err
		}
		tables, err := conn.ListTables()
		if err != nil {
			return err
		}
		chains, err := conn.ListChains()
		if err != nil {
			return err
		}
		for _, table := range tables {
			// 2 is ip, 10 is ip6, as in linux/netfilter.h.
			fmt.Fprintf(&b, "table %d/%s ", table.Family, table.Name)
		}
		for _, chain := range chains {
			found, err := conn.GetRules(chain.Table, chain)
			if err != nil {
				return err
			}
			for _, r := range found {
				fmt.Fprintf(&b, "rule %s/%s/%d ", chain.Table.Name, chain.Name, r.Handle)
			}
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		addrs, err := netlink.AddrList(lo, netlink.FAMILY_ALL)
		fmt.Fprint(&b, addrs)
		return err
	})
	return b.String()
}

func ours(f nft.TableFamily) *nft.Table { return &nft.Table{Name: "shunt", Family: f} }

func rules(conn *nft.Conn, chain string) []*nft.Rule {
	found, err := conn.GetRules(ours(nft.TableFamilyIPv4), &nft.Chain{Name: chain})
	if err != nil {
		return nil
	}
	for _, r := range found {
		r.Table = ours(nft.TableFamilyIPv4)
	}
	return found
}

// namedSet finds a set by the name that the plan has for it.
func namedSet(conn *nft.Conn, name string) *nft.Set {
	all, err := conn.GetSets(ours(nft.TableFamilyIPv4))
	if err != nil {
		return &nft.Set{Table: ours(nft.TableFamilyIPv4), Name: err.Error()}
	}
	for _, s := range all {
		if strings.HasPrefix(s.Name, name+"_") {
			return s
		}
	}
	return &nft.Set{Table: ours(nft.TableFamilyIPv4), Name: name}
}
