// SPDX-License-Identifier: Apache-2.0

package redirect_test

import (
	"fmt"
	"net/netip"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
)

// A pod whose every inbound port but 8081 is captured, and nothing outbound.
func ExampleNewPlan() {
	config := redirect.DefaultConfig()
	config.IPv6 = false
	config.IncludeInboundPorts.All = true
	config.ExcludeInboundPorts = []contract.PortRange{{First: 8081, Last: 8081}}
	plan, err := redirect.NewPlan(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, rule := range plan.Families[0].Chains[0].Rules {
		fmt.Println(rule)
	}
	// Output:
	// tcp opened -> pass  # connections that were open before
	// tcp to loopback{127.0.0.0/8} -> pass  # loopback from outside is for the kernel to drop
	// tcp port tunnel_port{15008} -> pass  # the tunnel is never captured
	// tcp port exclude_inbound_ports{8081} -> pass  # excluded inbound ports
	// tcp listened -> capture at 15006  # everything else that arrives
}

// Why did this connection of the application go where it did?
func ExampleExplain() {
	config := redirect.DefaultConfig()
	config.IncludeOutboundCIDRs.All = true
	verdict, err := redirect.Explain(config, redirect.Flow{
		Direction: redirect.Outbound,
		Dest:      netip.MustParseAddrPort("10.0.0.5:443"),
		UID:       1000,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(verdict)
	// Output:
	// capture at 15001: ipv4 outbound rule 9, everything else that leaves
}
