// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/shuntmesh/shunt/test/cluster/layout"
)

// Free returns an error if the host uses addresses of the network between the machines already: the cluster's route would
// take them away.
func Free() error {
	links, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list the host's links: %w", err)
	}
	for _, link := range links {
		addresses, err := link.Addrs()
		if err != nil {
			return fmt.Errorf("list the addresses of %s: %w", link.Name, err)
		}
		for _, address := range addresses {
			if err := conflict(link.Name, address.String()); err != nil {
				return err
			}
		}
	}
	return nil
}

// conflict compares the network between the machines with that of one address of the host.
func conflict(link, address string) error {
	theirs, err := netip.ParsePrefix(address)
	if err != nil {
		return fmt.Errorf("read an address of %s: %w", link, err)
	}
	ours := onLink(layout.APIAddress).Masked()
	if link == layout.HostLink || !theirs.Overlaps(ours) {
		return nil
	}
	return fmt.Errorf("use %s for the cluster: %s has %s (take that link down while the cluster is up)", ours, link, address)
}
