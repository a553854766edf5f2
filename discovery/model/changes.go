// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// Changes is what became different. All of it is immutable.
type Changes struct {
	Services  []ServiceChange        // sorted by key
	Endpoints []ServiceEndpoints     // whole, of each service whose endpoints changed; sorted by key
	Addresses map[netip.Addr]Address // the zero Address: it is nothing any more
}

// Empty tells whether nothing changed.
func (c *Changes) Empty() bool {
	return len(c.Services) == 0 && len(c.Endpoints) == 0 && len(c.Addresses) == 0
}

// ServiceChange is a service before and after; nil where there is none.
type ServiceChange struct {
	Old, New *Service
}

func (c ServiceChange) key() Key {
	if c.New != nil {
		return c.New.Key
	}
	if c.Old != nil {
		return c.Old.Key
	}
	return Key{}
}

// ServiceEndpoints has the endpoints of each of a service's ports, by the
// service's port number; sorted by address, each address once.
type ServiceEndpoints struct {
	Service *Service
	Ports   map[uint16][]Endpoint
	// Unready are known and not to be sent traffic; sorted, and of ports that are
	// balanced at connect alone. Those keep the connections that they have.
	Unready map[uint16][]netip.AddrPort
}
