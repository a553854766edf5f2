// SPDX-License-Identifier: Apache-2.0

//go:build netns

package ebpf

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// TestBrokenPolicy refuses what it can't decide about, in both directions, and
// counts it.
func TestBrokenPolicy(t *testing.T) {
	n := loaded(t)
	node, ns := testnet.Pair(t)
	node.Listen(t, "far", "[::]:80")
	for _, addr := range []string{"[::]:15001", "[::]:15006", "[::]:8080"} {
		ns.Listen(t, "pod", addr)
	}
	apply(t, n, ns, captureAll())
	ns.Do(t, func() error {
		return n.backend().inPod(t.Context(), func(pd *pod) error {
			return errors.Join(
				pd.maps.policies.Delete(entryKey{pd.cookie, 1, 1}), // the first question about what arrives
				pd.maps.policies.Delete(entryKey{pd.cookie, 1, 0}), // where to begin
			)
		})
	})
	ns.Do(t, func() error {
		_, _, said, err := call(netip.MustParseAddr(testnet.NodeV4), "")
		if !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("outbound: %q, %v, want a refusal", said, err)
		}
		return nil
	})
	if _, said := node.Dial(t, "", testnet.PodV4+":8080"); !strings.Contains(said, "refused") {
		t.Errorf("inbound: %q, want a refusal", said)
	}
	s, err := n.Status()
	if err != nil || s.Counters["refused_policy"] != 2 {
		t.Errorf("counted: %v, %v, want 2 refused_policy", s.Counters, err)
	}
}

// TestFullMap fails an apply and says why; what was there stays.
func TestFullMap(t *testing.T) {
	n := loaded(t)
	_, steered := testnet.Pair(t)
	_, late := testnet.Pair(t)
	apply(t, n, steered, captureAll())
	maps, err := openMaps(n.layout())
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	fill(t, maps.policies)
	late.Do(t, func() error {
		_, err := n.backend().Apply(t.Context(), plan(t, captureAll()))
		if err == nil || !strings.Contains(err.Error(), "maps are full") {
			t.Errorf("apply with full maps: %v, want an error that says so", err)
		}
		return nil
	})
	if err := check(t, n, late, captureAll()); !isDifference(err) {
		t.Errorf("check of the pod that came too late: %v, want a difference", err)
	}
	if err := check(t, n, steered, captureAll()); err != nil {
		t.Errorf("check of the pod that was there: %v", err)
	}
}

// fill leaves no room in a map.
func fill(t *testing.T, policies *ebpf.Map) {
	t.Helper()
	for i := range policies.MaxEntries() + 1 {
		err := policies.Put(entryKey{1, 1, i}, entry{})
		if isFull(err) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the map takes more entries than it says")
}
