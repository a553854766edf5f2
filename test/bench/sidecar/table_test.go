// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/route"
	"github.com/shuntmesh/shunt/test/bench/load"
)

// TestTable: the load finds the last of 100 routes; its neighbours lead astray.
func TestTable(t *testing.T) {
	vip, backend := netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("127.0.0.1:9")
	known, err := newTable(vip, []netip.AddrPort{backend}, 100)
	if err != nil {
		t.Fatal(err)
	}
	d, ok := known.Snapshot().Destination(vip)
	if !ok || d.Service == nil {
		t.Fatal("the address is no service")
	}
	for r, found := range map[route.Request]bool{
		{Authority: load.Authority, Path: load.Path}:             true,
		{Authority: load.Authority, Path: "/bench.Other3/Unary"}: false,
		{Authority: "shop-8.bench.test", Path: load.Path}:        false,
		{}: true, // TCP
		{Authority: fmt.Sprintf("shop-%d.bench.test", hosts), Path: load.Path}: true, // no such host: the wildcard
	} {
		to, ok := d.Service.Routes.Match(r)
		if !ok {
			t.Errorf("%+v has no route", r)
		}
		c, ok := known.Snapshot().Cluster(to.Cluster)
		if ok != found {
			t.Errorf("%+v is routed to %q", r, to.Cluster)
		}
		if !found {
			continue
		}
		if e, ok := c.Picker.Pick(balance.Request{}); !ok || e.Addr() != backend {
			t.Errorf("%+v is sent to %v", r, e)
		}
	}
	if _, err := newTable(vip, nil, 7); err == nil {
		t.Error("7 routes are taken")
	}
}
