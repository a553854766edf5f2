// SPDX-License-Identifier: Apache-2.0

//go:build netns

package nftables

import (
	"testing"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// TestKernelWithoutIPv6 is no error: there is nothing to steer.
func TestKernelWithoutIPv6(t *testing.T) {
	p, err := redirect.NewPlan(redirect.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	testnet.New(t).Do(t, func() error {
		b := Backend{withoutIPv6: true}
		if _, err := b.Apply(t.Context(), p); err != nil {
			return err
		}
		if err := (Backend{}).Check(t.Context(), p); err == nil {
			t.Error("the table of IPv6 is there, want none")
		}
		return b.Check(t.Context(), p)
	})
}
