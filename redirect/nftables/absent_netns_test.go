// SPDX-License-Identifier: Apache-2.0

//go:build netns

package nftables

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/nftables/expr"

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

// TestKernelWithoutSockets is refused as a lack, and changes nothing: neither in
// a fresh namespace nor over rules that are there, whose sets have other names.
func TestKernelWithoutSockets(t *testing.T) {
	c := redirect.DefaultConfig()
	c.IncludeInboundPorts.All = true
	p, err := redirect.NewPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	testnet.New(t).Do(t, func() error {
		deafApply := func() {
			err := converse(t.Context(), func(s socket) error {
				_, err := s.write(deaf(t, p))
				return err
			})
			if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "nft_socket") {
				t.Errorf("apply: %v, want a lack of nft_socket", err)
			}
		}
		deafApply()
		if holds, err := (Backend{}).Holds(t.Context()); holds || err != nil {
			t.Errorf("after the refusal, the namespace holds something: %v, %v", holds, err)
		}
		if _, err := (Backend{}).Apply(t.Context(), p.CapturingClosed()); err != nil {
			return err
		}
		deafApply()
		return Backend{}.Check(t.Context(), p.CapturingClosed())
	})
}

// deaf renders a plan with a key of sockets that no kernel has.
func deaf(t *testing.T, p redirect.Plan) []table {
	t.Helper()
	s, err := Backend{}.render(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range s.tables {
		for _, c := range table.chains {
			for _, r := range c.rules {
				for _, e := range r.exprs {
					if found, ok := e.(*expr.Socket); ok {
						found.Key = 255
					}
				}
			}
		}
	}
	return s.tables
}
