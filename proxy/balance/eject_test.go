// SPDX-License-Identifier: Apache-2.0

package balance_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/balance"
)

func TestFailingInARowEjects(t *testing.T) {
	e := balance.NewEndpoint(netip.MustParseAddrPort("192.0.2.1:80"))
	now := time.Unix(1000, 0)
	for range 3 { // one answer in between, and nothing happens
		for range 4 {
			if e.Failing(now) {
				t.Fatal("ejected before the fifth failure in a row")
			}
		}
		e.Working()
	}
	for range 4 {
		e.Failing(now)
	}
	if !e.Failing(now) || !e.Shunned(now.Add(29*time.Second)) || e.Shunned(now.Add(30*time.Second)) {
		t.Error("not ejected for 30 s after the fifth failure")
	}
}

func TestEjectionGrowsAndIsForgotten(t *testing.T) {
	e := balance.NewEndpoint(netip.MustParseAddrPort("192.0.2.1:80"))
	now := time.Unix(1000, 0)
	eject := func() (length time.Duration) {
		for !e.Failing(now) {
		}
		for e.Shunned(now) {
			now = now.Add(time.Second)
			length += time.Second
		}
		return length
	}
	want := []time.Duration{30, 60, 90}
	for i := range want {
		if got := eject(); got != want[i]*time.Second {
			t.Errorf("ejection %d took %v, want %v", i+1, got, want[i]*time.Second)
		}
	}
	for range 20 {
		eject()
	}
	if got := eject(); got != 5*time.Minute {
		t.Errorf("longest ejection is %v", got)
	}
	for range 100 {
		e.Working()
	}
	if got := eject(); got != 30*time.Second {
		t.Errorf("after it worked again: %v", got)
	}
}
