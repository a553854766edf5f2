// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
)

var update = flag.Bool("update", false, "write the golden file")

// TestCompileGolden shows a whole policy, entry by entry.
func TestCompileGolden(t *testing.T) {
	c := redirect.DefaultConfig()
	c.ProxyUIDs, c.ProxyGIDs = []uint32{1337, 4001, 1338}, []uint32{1337}
	c.IncludeInboundPorts.All = true
	c.IncludeOutboundCIDRs.Prefixes = prefixes("10.0.0.0/8", "fd00::/8")
	c.ExcludeOutboundPorts = []contract.PortRange{{First: 9000, Last: 9010}}
	c.OwnerGroups = []uint32{0, 1, 2, 7}
	got := text(compiled(t, c))
	const path = "testdata/policy.golden"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// TestRefuse holds the list of what can't be asked of eBPF.
func TestRefuse(t *testing.T) {
	for name, change := range map[string]func(*redirect.Config){
		"eth1":         func(c *redirect.Config) { c.ExcludeInterfaces = []string{"eth1"} },
		"drop-invalid": func(c *redirect.Config) { c.DropInvalid = true },
	} {
		c := redirect.DefaultConfig()
		c.IncludeInboundPorts.All, c.ClosedPorts = true, redirect.ClosedCapture
		change(&c)
		p, err := redirect.NewPlan(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := compile(p, ordinary()); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want a refusal that names it", name, err)
		}
	}
}

// TestEveryCondition is translated or refused: one that the model gets later
// must not be passed over.
func TestEveryCondition(t *testing.T) {
	known := []string{"Invalid", "Opened", "Listened", "Interface", "Source", "UID", "GID", "NotGIDs", "NotDest", "NotDestPort", "Sources", "Dest", "DestPorts"}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[redirect.Match]()) {
		if !slices.Contains(known, f.Name) {
			t.Errorf("redirect.Match has %s, which neither conditions() nor unable() knows", f.Name)
		}
	}
}

// TestMostOwners stays within what the programs walk through, since a policy
// has one question for all owners alike.
func TestMostOwners(t *testing.T) {
	c := redirect.DefaultConfig()
	c.IncludeInboundPorts.All, c.IncludeOutboundCIDRs.All, c.ClosedPorts = true, true, redirect.ClosedCapture
	c.ProxyUIDs, c.ProxyGIDs = many(16, 2000), many(16, 3000)
	c.OwnerGroups, c.ExcludeOwnerGroups = many(64, 4000), many(64, 5000)
	compiled(t, c)
}

func TestTooManyRoutes(t *testing.T) {
	s := ordinary()
	for i := range 2 * maxSpans {
		a := netip.AddrFrom4([4]byte{11, byte(i >> 8), byte(i), 0})
		source := netip.AddrFrom4([4]byte{12, byte(i >> 8), byte(i), 1})
		s.routes = append(s.routes, route{netip.PrefixFrom(a, 32), source})
	}
	p, err := redirect.NewPlan(redirect.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := compile(p, s); err == nil || !strings.Contains(err.Error(), "want 2047 at most") {
		t.Errorf("%d routes: %v, want an error that says how many are possible", len(s.routes), err)
	}
}

// TestLayout holds the sizes of bpf/maps.h.
func TestLayout(t *testing.T) {
	for _, v := range []any{head{}, step{}, span{}} {
		if got := binary.Size(v); got != entrySize {
			t.Errorf("%T has %d bytes, want %d", v, got, entrySize)
		}
	}
	if got := binary.Size(entryKey{}); got != 16 {
		t.Errorf("entryKey has %d bytes, want 16", got)
	}
	spec, err := loadPrograms()
	if err != nil {
		t.Fatal(err)
	}
	if got := int(spec.Maps[programsMapCounters].MaxEntries); got < len(counterNames()) {
		t.Errorf("there is room for %d counters, %d have a name", got, len(counterNames()))
	}
	if got := spec.Maps[programsMapPolicies].ValueSize; got != entrySize {
		t.Errorf("a policy's entries have %d bytes, want %d", got, entrySize)
	}
}

func many(n int, from uint32) []uint32 {
	var out []uint32
	for i := range n {
		out = append(out, from+uint32(2*i))
	}
	return out
}

func compiled(t *testing.T, c redirect.Config) policy {
	t.Helper()
	p, err := redirect.NewPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	out, err := compile(p, ordinary())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// ordinary has an address in each family, and a way to everywhere.
func ordinary() surroundings {
	v4, v6 := netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("fd01::2")
	return surroundings{
		own:    []netip.Addr{v4, v6, netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()},
		routes: []route{{netip.MustParsePrefix("0.0.0.0/0"), v4}, {netip.MustParsePrefix("fd01::/64"), v6}},
	}
}

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func text(p policy) string {
	var b strings.Builder
	fmt.Fprintf(&b, "inbound port %d\n", p.inboundPort)
	for i, e := range p.entries {
		fmt.Fprintf(&b, "%3d  %s: %s\n", i, p.about[i].where, p.about[i].describe(e))
	}
	return b.String()
}
