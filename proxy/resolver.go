// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"net/netip"

	"github.com/shuntmesh/shunt/proxy/stats"
	"github.com/shuntmesh/shunt/proxy/xds"
)

// Resolver is what the data path wants of discovery.
type Resolver interface {
	// Snapshot is never nil.
	Snapshot() *xds.Snapshot
	// Resolve returns when the destination is known or ctx ends.
	Resolve(ctx context.Context, ap netip.AddrPort) (xds.Destination, error)
}

// showDiscovery makes metrics of what a client of discovery counts.
func showDiscovery(s *stats.Stats, r Resolver) {
	c, ok := r.(interface{ Stats() xds.Stats })
	if !ok {
		return
	}
	for name, value := range map[string]func(xds.Stats) uint64{
		"discovery_connected": func(s xds.Stats) uint64 {
			if s.Connected {
				return 1
			}
			return 0
		},
		"discovery_streams_total": func(s xds.Stats) uint64 { return s.Streams },
		"discovery_updates_total": func(s xds.Stats) uint64 { return s.Updates },
		"discovery_nacks_total":   func(s xds.Stats) uint64 { return s.Nacks },
		"discovery_away_total":    func(s xds.Stats) uint64 { return s.Away },
		"discovery_evicted_total": func(s xds.Stats) uint64 { return s.Evicted },
		"discovery_addresses":     func(s xds.Stats) uint64 { return uint64(s.Addresses) },
		"discovery_clusters":      func(s xds.Stats) uint64 { return uint64(s.Clusters) },
		"discovery_endpoints":     func(s xds.Stats) uint64 { return uint64(s.Endpoints) },
	} {
		s.Gauge(name, func() float64 { return float64(value(c.Stats())) })
	}
}
