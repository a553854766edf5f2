// SPDX-License-Identifier: Apache-2.0

package network

import "testing"

func TestConflict(t *testing.T) {
	for _, c := range []struct {
		link, address string
		refused       bool
	}{
		{"eth0", "192.0.2.2/24", false},
		{"lo", "::1/128", false},
		{"docker0", "172.17.0.1/16", false},
		{"br-1", "172.30.0.1/16", true},
		{"br-2", "172.30.0.77/32", true},
		{"shunt-host", "172.30.0.254/24", false},
		{"odd", "not an address", true},
	} {
		if err := conflict(c.link, c.address); (err != nil) != c.refused {
			t.Errorf("%s %s: %v, want refused %t", c.link, c.address, err, c.refused)
		}
	}
}
