// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/shuntmesh/shunt/discovery/kube"
	"github.com/shuntmesh/shunt/discovery/model"
)

// world is a source of facts that are made up. It implements discovery.Source.
type world struct {
	kube.Sink
	synced chan struct{}

	services, perService, changes int
	backends                      []netip.AddrPort
}

// Synced implements discovery.Source.
func (w *world) Synced() <-chan struct{} { return w.synced }

// Run implements discovery.Source: the services, then the changes.
func (w *world) Run(ctx context.Context) error {
	for i := range w.services {
		key := keyOf(i)
		w.SetService(&model.Service{
			Key: key, Host: key.Name + ".bench.svc.cluster.local",
			VIPs:  []netip.Addr{netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})},
			Ports: []model.Port{{Number: 80, Target: 9}},
		})
		w.put(i)
	}
	close(w.synced)
	if w.changes == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(time.Second / time.Duration(w.changes))
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			w.putBackend(len(w.backends)-1, n%2 == 0) // the last endpoint goes, and comes back
		}
	}
}

func keyOf(i int) model.Key { return model.Key{Namespace: "bench", Name: fmt.Sprintf("svc-%d", i)} }

// put sets the endpoints of a service.
func (w *world) put(i int) {
	if i == 0 && len(w.backends) > 0 {
		for j := range w.backends {
			w.putBackend(j, true)
		}
		return
	}
	s := &model.Slice{Key: keyOf(i), Service: keyOf(i).Name, Ports: []model.SlicePort{{Number: 9}}}
	for j := range w.perService {
		ip := netip.AddrFrom4([4]byte{127, byte(1 + j>>8), byte(j), byte(1 + i)})
		s.Endpoints = append(s.Endpoints, model.SliceEndpoint{Addrs: []netip.Addr{ip}})
	}
	w.SetSlice(s)
}

// putBackend sets whether a backend is an endpoint of the first service. A slice
// has one port for all its endpoints, so each backend is a slice.
func (w *world) putBackend(j int, there bool) {
	ap := w.backends[j]
	s := &model.Slice{
		Key: model.Key{Namespace: "bench", Name: fmt.Sprintf("svc-0-%d", j)}, Service: keyOf(0).Name,
		Ports: []model.SlicePort{{Number: ap.Port()}},
	}
	if there {
		s.Endpoints = []model.SliceEndpoint{{Addrs: []netip.Addr{ap.Addr()}}}
	}
	w.SetSlice(s)
}
