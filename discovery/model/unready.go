// SPDX-License-Identifier: Apache-2.0

package model

import (
	"net/netip"
	"slices"
)

// unready lists the others of the ports that are balanced at connect. A pod that
// is ready in one slice is not unready in another.
func (b *Builder) unready(svc *Service, used map[uint16][]Endpoint) map[uint16][]netip.AddrPort {
	var out map[uint16][]netip.AddrPort
	for _, port := range svc.Ports {
		if !port.AtConnect {
			continue
		}
		var all []netip.AddrPort
		for _, s := range b.ofSvc[svc.Key] {
			all = s.appendUnready(all, port.Name)
		}
		slices.SortFunc(all, netip.AddrPort.Compare)
		all = slices.DeleteFunc(slices.Compact(all), func(ap netip.AddrPort) bool {
			return slices.ContainsFunc(used[port.Number], func(e Endpoint) bool { return e.Addr == ap })
		})
		if out == nil {
			out = map[uint16][]netip.AddrPort{}
		}
		out[port.Number] = all
	}
	return out
}

func (s *Slice) appendUnready(to []netip.AddrPort, port string) []netip.AddrPort {
	for _, p := range s.Ports {
		if p.Name != port {
			continue
		}
		for i := range s.Endpoints {
			if !s.Endpoints[i].Absent {
				continue
			}
			for _, ip := range s.Endpoints[i].Addrs {
				to = append(to, netip.AddrPortFrom(ip, p.Number))
			}
		}
	}
	return to
}
