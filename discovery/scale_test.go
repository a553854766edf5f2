// SPDX-License-Identifier: Apache-2.0

package discovery_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/discovery"
	"github.com/shuntmesh/shunt/discovery/kube"
	"github.com/shuntmesh/shunt/discovery/model"
	"github.com/shuntmesh/shunt/proxy/xds"
)

// static is a Source whose facts a benchmark puts.
type static struct {
	kube.Sink
	synced chan struct{}
}

func (s *static) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (s *static) Synced() <-chan struct{}       { return s.synced }

const (
	scaleServices  = 1000
	scaleEndpoints = 10
	scaleClients   = 100
	scaleUses      = 20 // services that a client uses; the first is everybody's
	hotCluster     = "outbound|80||svc-0.scale.svc.cluster.local"
)

func scaleVIP(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}), 80)
}

// put sets service i with n endpoints.
func (s *static) put(i, n int) {
	key := model.Key{Namespace: "scale", Name: fmt.Sprintf("svc-%d", i)}
	slice := &model.Slice{Key: key, Service: key.Name, Ports: []model.SlicePort{{Number: 8080}}}
	for j := range n {
		ip := netip.AddrFrom4([4]byte{10, byte(j), byte(i >> 8), byte(i)})
		slice.Endpoints = append(slice.Endpoints, model.SliceEndpoint{Addrs: []netip.Addr{ip}})
	}
	s.SetSlice(slice)
}

// BenchmarkEventToLastClient is the time from a change of a service that every
// client uses to the snapshot of the last of them, over TLS, all in this
// process. The 10 ms that changes wait for others are in it.
func BenchmarkEventToLastClient(b *testing.B) {
	source := &static{synced: make(chan struct{})}
	clients := scaleCluster(b, source)
	var took []time.Duration
	for n := 0; b.Loop(); n++ {
		before := make([]*xds.Cluster, len(clients))
		for i, c := range clients {
			before[i], _ = c.Snapshot().Cluster(hotCluster)
		}
		begin := time.Now()
		source.put(0, scaleEndpoints-1-n%2)
		for i, c := range clients {
			for now := before[i]; now == before[i]; now, _ = c.Snapshot().Cluster(hotCluster) {
				time.Sleep(100 * time.Microsecond)
			}
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkResolve is the first lookup of an address that is no service, by a
// client that is connected: one round trip. A service takes two.
func BenchmarkResolve(b *testing.B) {
	client := scaleCluster(b, &static{synced: make(chan struct{})})[0]
	for i := 0; b.Loop(); i++ {
		ap := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, byte(i >> 16), byte(i >> 8), byte(i)}), 80)
		if _, err := client.Resolve(b.Context(), ap); err != nil {
			b.Fatal(err)
		}
	}
}

func scaleCluster(b *testing.B, source *static) []*xds.Client {
	b.Helper()
	c := newCluster(b)
	r := c.startWith(b, "127.0.0.1:0", func(sink kube.Sink) discovery.Source {
		source.Sink = sink
		for i := range scaleServices {
			key := model.Key{Namespace: "scale", Name: fmt.Sprintf("svc-%d", i)}
			source.SetService(&model.Service{
				Key: key, Host: key.Name + ".scale.svc.cluster.local",
				VIPs:  []netip.Addr{scaleVIP(i).Addr()},
				Ports: []model.Port{{Number: 80, Target: 8080}},
			})
			source.put(i, scaleEndpoints)
		}
		close(source.synced)
		return source
	})
	var clients []*xds.Client
	for i := range scaleClients {
		client := c.connect(b, r.ads, goodToken)
		for j := range scaleUses {
			service := 0
			if j > 0 {
				service = (i*scaleUses + j) % scaleServices
			}
			if _, err := client.Resolve(b.Context(), scaleVIP(service)); err != nil {
				b.Fatal(err)
			}
		}
		clients = append(clients, client)
	}
	return clients
}

// BenchmarkEventToLastNode is the time from a change of a service that is
// balanced at connect to the table of the last of 100 nodes, each of which has all
// such services. The 10 ms that changes wait for others are in it.
func BenchmarkEventToLastNode(b *testing.B) {
	const nodes, services = 100, 100
	source := &static{synced: make(chan struct{})}
	c := newCluster(b)
	r := c.startWith(b, "127.0.0.1:0", func(sink kube.Sink) discovery.Source {
		source.Sink = sink
		for i := range services {
			key := model.Key{Namespace: "scale", Name: fmt.Sprintf("svc-%d", i)}
			source.SetService(&model.Service{
				Key: key, Host: key.Name + ".scale.svc.cluster.local", VIPs: []netip.Addr{scaleVIP(i).Addr()},
				Ports: []model.Port{{Number: 80, Target: 8080, AtConnect: true}},
			})
			source.put(i, scaleEndpoints)
		}
		close(source.synced)
		return source
	})
	var kernels []*kernel
	for range nodes {
		kernels = append(kernels, c.feed(b, r.ads, goodToken))
	}
	await := func(endpoints int) {
		for _, k := range kernels {
			for k.endpoints() != endpoints {
				time.Sleep(100 * time.Microsecond)
			}
		}
	}
	await(services * scaleEndpoints)
	var took []time.Duration
	for n := 0; b.Loop(); n++ {
		time.Sleep(60 * time.Millisecond) // the nodes' gap between two writes
		begin := time.Now()
		source.put(0, scaleEndpoints-1-n%2)
		await(services*scaleEndpoints - 1 - n%2)
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
