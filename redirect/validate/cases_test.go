// SPDX-License-Identifier: Apache-2.0

package validate

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/flags"
)

func planOf(t *testing.T, args ...string) redirect.Plan {
	t.Helper()
	parsed, err := flags.Parse(args)
	if err != nil {
		t.Fatal(err)
	}
	p, err := redirect.NewPlan(parsed.Config)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// somewhere is a pod of one family, with a second network.
func somewhere(listed ...string) []Place {
	places := []Place{
		{netip.MustParseAddr("10.66.0.2"), 40001, "lo"},
		{netip.MustParseAddr("127.0.0.1"), 40002, "lo"},
		{netip.MustParseAddr("192.0.2.1"), 0, "eth0"},
		{netip.MustParseAddr("10.67.0.1"), 0, "net1"},
	}
	for _, text := range listed {
		places = append(places, Place{netip.MustParseAddr(text), 0, "eth0"})
	}
	return places
}

// For each rule that an owner's connections can meet there is one connection.
func TestCases(t *testing.T) {
	const app, proxy = contract.ValidateUID, contract.ProxyUID
	tests := []struct {
		name   string
		owner  uint32
		flags  string
		places []Place
		want   []string
	}{
		{"an application's", app, "-i *", somewhere(), []string{
			"10.66.0.2:40001 pass 5",
			"10.66.0.2:40001 from 127.0.0.6 pass 2",
			"192.0.2.1:9 capture 9",
		}},
		{"the proxy's", proxy, "-i *", somewhere(), []string{
			"10.66.0.2:40001 capture 3",
			"10.66.0.2:40001 from 127.0.0.6 pass 2",
			"127.0.0.1:40002 pass 5",
			"192.0.2.1:9 pass 6",
		}},
		{"nothing is captured", app, "", somewhere(), []string{
			"10.66.0.2:40001 pass 5",
			"10.66.0.2:40001 from 127.0.0.6 pass 2",
			"192.0.2.1:9 pass 0",
		}},
		{"exclusions", app, "-i * -o 9,5432 -x 10.9.0.0/16 -c net1", somewhere("10.9.0.1"), []string{
			"10.66.0.2:40001 pass 7",
			"10.66.0.2:40001 from 127.0.0.6 pass 4",
			"192.0.2.1:9 pass 3",
			"192.0.2.1:10 capture 12",
			"10.67.0.1:10 pass 2",
			"10.9.0.1:10 pass 11",
		}},
		{"inclusions", app, "-i 10.9.0.0/16 -q 443", somewhere("10.9.0.1"), []string{
			"10.66.0.2:40001 pass 5",
			"10.66.0.2:40001 from 127.0.0.6 pass 2",
			"192.0.2.1:9 pass 0",
			"192.0.2.1:443 capture 9",
			"10.9.0.1:9 capture 10",
		}},
		{"every port is excluded", app, "-i * -o 1-65535", somewhere(), []string{"192.0.2.1:9 pass 2"}},
		{"no way out", app, "-i *", somewhere()[:2], []string{"10.66.0.2:40001 pass 5", "10.66.0.2:40001 from 127.0.0.6 pass 2"}},
	}
	for _, tt := range tests {
		p := planOf(t, append([]string{"--ipv6", "off"}, strings.Fields(tt.flags)...)...)
		var got []string
		for _, c := range Cases(p, Owner{tt.owner, tt.owner}, tt.places) {
			from := ""
			if c.Flow.Source.IsValid() {
				from = " from " + c.Flow.Source.String()
			}
			got = append(got, fmt.Sprintf("%v%s %v %d", c.Flow.Dest, from, c.Want.Action, c.Want.Number))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s\n%v", tt.name, diff, p)
		}
	}
}

// Lists are as long as their authors please; what is tried stays small.
func TestCasesOfLongLists(t *testing.T) {
	var ports, prefixes []string
	for i := range 1000 {
		ports = append(ports, fmt.Sprint(2*i+1))
		prefixes = append(prefixes, fmt.Sprintf("10.%d.%d.0/24", i/250, i%250))
	}
	p := planOf(t, "-i", "*", "-o", strings.Join(ports, ","), "-x", strings.Join(prefixes, ","))
	if got := len(outsidePorts(p.Families[0])); got > 2*maxEntries+1 {
		t.Errorf("%d ports are tried", got)
	}
	if got := len(listed(p.Families[0])); got > maxEntries+1 { // loopback is listed too
		t.Errorf("%d addresses are tried", got)
	}
}

func TestJudge(t *testing.T) {
	own, out := netip.MustParseAddrPort("10.66.0.2:40001"), netip.MustParseAddrPort("192.0.2.1:9")
	captured := Case{Flow: redirect.Flow{Dest: out}, Want: redirect.Verdict{Family: redirect.IPv4, Direction: redirect.Outbound, Action: redirect.Capture, Port: 15001, Number: 9, Why: "all"}}
	away := Case{Flow: redirect.Flow{Dest: out}, Want: redirect.Verdict{Family: redirect.IPv4, Direction: redirect.Outbound, Action: redirect.Pass, Why: "no rule matches"}}
	inside := Case{Flow: redirect.Flow{Dest: own}, Ours: true, Want: away.Want}
	self := Case{Flow: redirect.Flow{Dest: own}, Ours: true, Want: captured.Want}
	self.Want.Port = 15006
	at := func(port uint16, dest netip.AddrPort) outcome {
		return outcome{arrived: arrival{at: port, dest: dest}, ended: true}
	}
	failed := func(err error) outcome { return outcome{ended: true, err: err} }
	tests := []struct {
		name string
		c    Case
		o    outcome
		want string // "" is as planned
	}{
		{"captured", captured, at(15001, out), ""},
		{"captured for another destination", captured, at(15001, own), "ipv4 outbound rule 9 (all): want 192.0.2.1:9 captured at 15001, found it there as one to 10.66.0.2:40001"},
		{"captured at another port", captured, at(15006, out), "found it captured at 15006"},
		{"not captured", captured, failed(unix.EHOSTUNREACH), "found that it left the pod (no route to host)"},
		{"not captured, and no answer", captured, outcome{}, "found no answer"},
		{"refused", captured, failed(unix.ECONNREFUSED), "found it refused"},
		{"somebody else has it", captured, failed(nil), "found it in other hands"},
		{"inside, and left alone", self, at(40001, own), "found that it was not captured"},
		{"inside, captured", self, at(15006, own), ""},
		{"left alone inside", inside, at(40001, own), ""},
		{"captured inside", inside, at(15001, own), "ipv4 outbound (no rule matches): want 10.66.0.2:40001 left alone, found it captured at 15001"},
		{"left alone, on its way", away, outcome{}, ""},
		{"left alone, and refused there", away, failed(unix.ECONNREFUSED), ""},
		{"left alone, and answered there", away, failed(nil), ""},
		{"captured instead of left alone", away, at(15001, out), "want 192.0.2.1:9 left alone, found it captured at 15001"},
		{"no dial source", inside, failed(&bindError{netip.MustParseAddr("::6"), unix.EADDRNOTAVAIL}), "found no address ::6"},
	}
	for _, tt := range tests {
		d := judge(tt.c, tt.o)
		if (d == nil) != (tt.want == "") || d != nil && !strings.Contains(d.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, d, tt.want)
		}
	}
}
