// SPDX-License-Identifier: Apache-2.0

//go:build netns

package ebpf

import (
	"testing"
	"time"

	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// churned is how many pods come and go.
const churned = 500

// TestChurn leaves maps, links and pins as they were. The kernel takes a moment
// until the last namespace is gone.
func TestChurn(t *testing.T) {
	n := loaded(t)
	_, stays := testnet.Pair(t)
	apply(t, n, stays, captureAll())
	before := held(t, n)
	collected := 0
	for i := range churned {
		r, err := newRoom()
		if err != nil {
			t.Fatal(err)
		}
		err = r.do(func() error { _, err := n.backend().Apply(t.Context(), plan(t, captureAll())); return err })
		r.close()
		if err != nil {
			t.Fatal(err)
		}
		if i%100 == 99 {
			collected += collect(t, n)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); collected < churned && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		collected += collect(t, n)
	}
	if collected != churned {
		t.Errorf("%d pods were collected, want %d", collected, churned)
	}
	if after := held(t, n); after != before {
		t.Errorf("held after %d pods: %s, before: %s", churned, after, before)
	}
	if err := check(t, n, stays, captureAll()); err != nil {
		t.Errorf("the pod that stays: %v", err)
	}
}

func collect(t *testing.T, n Node) int {
	t.Helper()
	collected, err := n.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return collected
}
