// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"time"
)

// What can be balanced on a node. A table that doesn't fit is refused whole.
const (
	MaxServices  = 16384
	MaxEndpoints = 1024  // of a service
	MaxSlots     = 65536 // of all services: an endpoint takes one, or as many as its weight asks for among the others'
)

// Service is a virtual address whose connections are balanced in connect(2).
type Service struct {
	Addr      netip.AddrPort
	Endpoints []Endpoint
}

// Endpoint is where connections of a service may go, of the same IP family. Only
// healthy ones belong here: without any that has a weight, connections are refused
// (ECONNREFUSED).
type Endpoint struct {
	Addr   netip.AddrPort
	Weight uint32 // relative to the others' of the service; with 0 it gets no new connections, and keeps those that it has
}

// Balanced is what a Balance did.
type Balanced struct {
	Changed   int // services that were written or taken out
	Destroyed int // connections that were ended, since their endpoint is gone
	Stayed    int // connections that should have been, and can't be: the kernel has no way, or the pod is captured no more
}

// Balance makes the node's table exactly want. A connection that a captured pod
// opens to a service of it goes to an endpoint and not to the proxy, unless the
// pod's Plan excludes it. It meets the old endpoints of a service or the new ones,
// and is never refused because they change.
//
// Open connections to endpoints that a service has no more are ended, if it was
// this service that they were opened to; both sides are told. A service that is
// not wanted at all any more keeps its connections: new ones go to the proxy.
//
// It compares with what is pinned, so that it needs no memory, and finishes what a
// killed Balance began. Services that can't be balanced are an error that names
// one, and nothing is changed. Where nothing is loaded, it wraps
// errors.ErrUnsupported, unless nothing is wanted.
func (n Node) Balance(ctx context.Context, want []Service) (Balanced, error) {
	tables, err := tablesOf(want)
	if err != nil {
		return Balanced{}, err
	}
	if _, err := os.Stat(n.layout().root()); errors.Is(err, fs.ErrNotExist) {
		if len(want) == 0 {
			return Balanced{}, nil
		}
		return Balanced{}, fmt.Errorf("balance services: %w", errNotLoaded)
	}
	unlock, err := n.lock(ctx)
	if err != nil {
		return Balanced{}, err
	}
	defer unlock()
	m, err := openBalanceMaps(n.layout())
	if err != nil {
		return Balanced{}, err
	}
	defer m.Close()
	return n.balance(ctx, m, tables)
}

func (n Node) balance(ctx context.Context, m *balanceMaps, want map[place]table) (done Balanced, err error) {
	now, err := m.read()
	if err != nil {
		return done, err
	}
	gone, again := now.unfinished(want)
	if err := errors.Join(m.eraseSlots(now.stray), m.forget(again)); err != nil {
		return done, err
	}
	c := now.changeTo(want)
	if err := m.publish(c); err != nil {
		return done, err
	}
	done.Changed = c.count()
	if len(c.erased) > 0 {
		time.Sleep(grace)
	}
	return done, errors.Join(n.endRemoved(ctx, m, append(gone, c.removals...), &done), m.eraseSlots(c.erased))
}
