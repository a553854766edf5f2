// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/origdst"
	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/route"
)

// serveInbound hands what comes for the pod to its application, at the address
// and port that were meant. HTTP is parsed here too: only so can a caller be
// told that a request never reached the application.
func (s *side) serveInbound(ctx context.Context, c accepted, a origdst.Addrs) {
	if !slices.Contains(s.options.PodIPs, a.Destination.Addr()) {
		s.refuse(c, reason.NotOurAddress, nil)
		return
	}
	s.balanced(ctx, c, a.Destination, &application{balance.NewEndpoint(a.Destination)})
}

// application is the one endpoint of an inbound connection.
type application struct{ endpoint *balance.Endpoint }

// Service names it in metrics: ":8080".
func (a *application) Service() string { return ":" + strconv.Itoa(int(a.endpoint.Addr().Port())) }

// Pick returns the application once.
func (a *application) Pick(_ route.Request, tried []*balance.Endpoint, _ time.Time) (*balance.Endpoint, reason.Reason) {
	if slices.Contains(tried, a.endpoint) {
		return nil, reason.NoEndpoints
	}
	return a.endpoint, reason.None
}

// Wait is never called: the application is known.
func (a *application) Wait(func()) {}

// localAddrs is what a pod's addresses are when nobody says: those of its
// interfaces that are not loopback.
func localAddrs() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range all {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && !prefix.Addr().IsLoopback() && !prefix.Addr().IsLinkLocalUnicast() {
			out = append(out, prefix.Addr().Unmap())
		}
	}
	return out, nil
}
