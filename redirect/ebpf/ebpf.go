// SPDX-License-Identifier: Apache-2.0

// Package ebpf makes network namespaces match a redirect.Plan with eBPF: no rule
// in the namespace, no NAT and no connection tracking. A connection that is
// opened in a pod is steered in connect(2), one that arrives where the kernel
// looks for its listener; folder bpf has the programs.
//
// What is per node, Node owns: it loads the programs, attaches them to the
// control group that all pods are below, and pins everything. What is per pod,
// Backend writes through those pins, in the network namespace of the calling
// thread: entries of maps, and a link. Neither needs the other to be alive.
package ebpf

import (
	"context"
	"errors"
	"fmt"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/internal/ipv6"
	"github.com/shuntmesh/shunt/redirect/internal/nslock"
)

//go:generate ../../scripts/bpf.sh

// Backend is a redirect.Backend. It works where a Node has loaded the programs,
// and refuses otherwise with an error that wraps errors.ErrUnsupported. It needs
// CAP_BPF and CAP_NET_ADMIN on the host, and CAP_NET_ADMIN in the namespace.
type Backend struct {
	BPFFS string // where the node's bpffs is mounted, such as /sys/fs/bpf
}

var _ redirect.Backend = Backend{}

// Apply implements redirect.Backend. A namespace that already matches is not
// written to. One word in a map says which policy holds, and is written last: a
// connection meets the old one or the new one.
func (b Backend) Apply(ctx context.Context, p redirect.Plan) (changed bool, err error) {
	p, err = ipv6.Reduce(p, false)
	if err != nil {
		return false, err
	}
	err = b.inPod(ctx, func(pd *pod) error {
		want, err := pd.want(p)
		if err != nil {
			return err
		}
		changed, err = ipv6.Around(dialSource(p), func() (bool, error) { return pd.apply(want) })
		return err
	})
	return changed, err
}

// Check implements redirect.Backend. It also finds addresses and routes of the
// namespace that have changed since Apply: the policy holds those of its time.
func (b Backend) Check(ctx context.Context, p redirect.Plan) error {
	p, err := ipv6.Reduce(p, false)
	if err != nil {
		return err
	}
	return b.inPod(ctx, func(pd *pod) error {
		want, err := pd.want(p)
		if err == nil {
			err = pd.compare(want)
		}
		if err == nil {
			err = ipv6.CheckDialSource(dialSource(p))
		}
		return err
	})
}

// Remove implements redirect.Backend. Connections that are open keep their way.
func (b Backend) Remove(ctx context.Context) error {
	err := b.inPod(ctx, func(pd *pod) error {
		_, err := ipv6.Around(false, func() (bool, error) { return true, pd.remove() })
		return err
	})
	if err != nil {
		return fmt.Errorf("remove pod: %w", err)
	}
	return nil
}

// Holds implements redirect.Backend.
func (b Backend) Holds(ctx context.Context) (holds bool, err error) {
	err = b.inPod(ctx, func(pd *pod) error {
		holds, err = pd.holds()
		return err
	})
	if errors.Is(err, errNotLoaded) {
		return false, nil // nobody could have written anything
	}
	return holds, err
}

// inPod calls f with what belongs to the calling thread's namespace, which
// nobody else changes meanwhile.
func (b Backend) inPod(ctx context.Context, f func(*pod) error) error {
	lock, err := nslock.Acquire(ctx)
	if err != nil {
		return err
	}
	defer lock.Release()
	cookie, err := netnsCookie()
	if err != nil {
		return err
	}
	maps, err := openMaps(layout{b.BPFFS})
	if err != nil {
		return err
	}
	defer maps.Close()
	return f(&pod{layout: layout{b.BPFFS}, maps: maps, netns: lock.File(), cookie: cookie})
}

// dialSource reports whether the plan needs the proxy's dial source on the
// loopback interface.
func dialSource(p redirect.Plan) bool {
	for _, f := range p.Families {
		if f.LoopbackAddr.IsValid() {
			return true
		}
	}
	return false
}
