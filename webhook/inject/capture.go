// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"strconv"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook/inject/annotation"
)

// captureFlags are the flags of "redirect apply", which are istio-iptables'
// own. Those that every pod has stand first, even when they are empty: an empty
// include is a choice.
func captureFlags(c annotation.Capture) []string {
	flags := []string{
		"-p", strconv.Itoa(contract.PortOutbound),
		"-z", strconv.Itoa(contract.PortInbound),
		"-u", strconv.Itoa(contract.ProxyUID),
		"-m", "REDIRECT",
		"-i", c.IncludeOutboundCIDRs,
		"-x", c.ExcludeOutboundCIDRs,
		"-b", c.IncludeInboundPorts,
		"-d", c.ExcludeInboundPorts,
	}
	if c.ExcludeOutboundPorts != "" {
		flags = append(flags, "-o", c.ExcludeOutboundPorts)
	}
	if c.IncludeOutboundPorts != "" {
		flags = append(flags, "-q", c.IncludeOutboundPorts)
	}
	if c.ExcludeInterfaces != "" {
		flags = append(flags, "-c", c.ExcludeInterfaces)
	}
	if c.Backend != "auto" {
		flags = append(flags, "--backend", c.Backend)
	}
	return flags
}
