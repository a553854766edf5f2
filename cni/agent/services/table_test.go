// SPDX-License-Identifier: Apache-2.0

package services

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/internal/balanceapi"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/xdsapi"
	"github.com/shuntmesh/shunt/redirect/ebpf"
)

func resource(t testing.TB, name, version string, p *balanceapi.BalancedPort) *xdsapi.Resource {
	t.Helper()
	return &xdsapi.Resource{Name: name, Version: version, Resource: &xdsapi.Any{TypeUrl: contract.TypeBalanced, Value: encode(t, p)}}
}

func response(removed []string, resources ...*xdsapi.Resource) *xdsapi.DeltaDiscoveryResponse {
	return &xdsapi.DeltaDiscoveryResponse{TypeUrl: contract.TypeBalanced, Resources: resources, RemovedResources: removed}
}

func TestTable(t *testing.T) {
	table := newTable()
	expect := func(what, want string, versions map[string]string) {
		t.Helper()
		if got := text(table.services()); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
		if diff := cmp.Diff(versions, table.versions()); diff != "" {
			t.Errorf("%s: versions (-want +got):\n%s", what, diff)
		}
		if got, want := table.size, sizeOf(table.services()); got != want {
			t.Errorf("%s: counted %+v, there is %+v", what, got, want)
		}
	}
	apply := func(r *xdsapi.DeltaDiscoveryResponse, want string) {
		t.Helper()
		err := table.apply(r)
		if want == "" && err != nil || want != "" && !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("apply: %v, want %q", err, want)
		}
	}
	a := port(80, []string{"10.96.0.1"}, "10.1.0.1:80")
	b := port(80, []string{"10.96.0.2"}, "10.1.0.2:80", "10.1.0.3:80")
	apply(response(nil, resource(t, "b", "1", b), resource(t, "a", "1", a)), "")
	expect("two", "10.96.0.1:80 -> 10.1.0.1:80*1; 10.96.0.2:80 -> 10.1.0.2:80*1 10.1.0.3:80*1", map[string]string{"a": "1", "b": "1"})
	apply(response([]string{"b", "never heard of"}), "")
	expect("one", "10.96.0.1:80 -> 10.1.0.1:80*1", map[string]string{"a": "1"})
	apply(response(nil, resource(t, "a", "2", port(80, nil)), resource(t, "b", "1", b)), `resource "a": it has 0 addresses`)
	expect("one is bad: it is the proxy's, and not asked for again", "10.96.0.2:80 -> 10.1.0.2:80*1 10.1.0.3:80*1", map[string]string{"a": "2", "b": "1"})
	if table.refused() != 1 {
		t.Errorf("%d are refused, want 1", table.refused())
	}
	apply(response([]string{"a", "b"}), "")
	expect("nothing", "", map[string]string{})
	apply(&xdsapi.DeltaDiscoveryResponse{TypeUrl: contract.TypeCluster, Resources: []*xdsapi.Resource{resource(t, "a", "1", a)}}, "was not asked for")
	expect("another type", "", map[string]string{})
}

// The first by name has an address that two claim, whoever was first.
func TestTableSettlesClaims(t *testing.T) {
	table := newTable()
	for i, name := range []string{"b", "a"} {
		if err := table.apply(response(nil, resource(t, name, "1", port(80, []string{"10.96.0.1"}, fmt.Sprintf("10.1.0.%d:80", i+1))))); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := text(table.services()), "10.96.0.1:80 -> 10.1.0.2:80*1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTableIsWhole(t *testing.T) {
	table := newTable()
	if table.whole {
		t.Error("whole before anything was said")
	}
	part := response(nil, resource(t, "a", "1", port(80, []string{"10.96.0.1"})))
	part.SystemVersionInfo = contract.PartialResponse
	for i, r := range []*xdsapi.DeltaDiscoveryResponse{part, response(nil), part, response([]string{"a"})} {
		if err := table.apply(r); err != nil {
			t.Fatal(err)
		}
		if table.whole != (r != part) {
			t.Errorf("response %d: whole is %v", i, table.whole)
		}
	}
}

// A table never grows beyond the kernel's, and what had no room is asked for
// again.
func TestTableIsBounded(t *testing.T) {
	table := newTable()
	endpoints := make([]string, ebpf.MaxEndpoints)
	for i := range endpoints {
		endpoints[i] = fmt.Sprintf("10.1.%d.%d:80", i>>8, i&255)
	}
	full := ebpf.MaxSlots / ebpf.MaxEndpoints
	for i := range full + 1 {
		err := table.apply(response(nil, resource(t, fmt.Sprintf("%03d", i), "1", port(80, []string{fmt.Sprintf("10.96.0.%d", i+1)}, endpoints...))))
		if refused := err != nil; refused != (i == full) {
			t.Fatalf("service %d: %v", i, err)
		}
	}
	if got := table.size; got != (size{full, ebpf.MaxSlots, ebpf.MaxSlots}) || table.refused() != 1 {
		t.Errorf("it has %+v and refuses %d, want %d services and 1", got, table.refused(), full)
	}
	if v := table.versions(); len(v) != full {
		t.Errorf("%d versions, want %d: the one without room is to be sent again", len(v), full)
	}
	uneven := []ebpf.Endpoint{{Weight: 1}, {Weight: 0}, {Weight: 2}}
	if got := slots(uneven); got != ebpf.MaxEndpoints {
		t.Errorf("uneven weights are counted as %d slots, want the most that a service may take", got)
	}
	if got := slots(uneven[:2]); got != 2 {
		t.Errorf("one weight and none are counted as %d slots, want 2", got)
	}
	table = newTable()
	for i := range ebpf.MaxServices + 10 {
		err := table.apply(response(nil, resource(t, fmt.Sprint(i), "1", port(uint32(i+1), []string{"10.96.0.1"}))))
		if (err != nil) != (i >= ebpf.MaxServices) {
			t.Fatalf("service %d: %v", i, err)
		}
	}
	if len(table.entries) != ebpf.MaxServices {
		t.Errorf("it has %d entries, want %d", len(table.entries), ebpf.MaxServices)
	}
}
