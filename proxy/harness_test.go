// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"net/netip"
	"testing"

	"github.com/shuntmesh/shunt/proxy/sidecartest"
)

// chain runs an outbound and an inbound proxy in front of an application, and
// returns where clients connect to.
func chain(t *testing.T, app netip.AddrPort) netip.AddrPort {
	t.Helper()
	out, _ := sidecartest.Chain(t, app, nil, nil)
	return out.Outbound
}
