// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"

	"github.com/shuntmesh/shunt/cni/agent/services"
	"github.com/shuntmesh/shunt/redirect/backends/onnode"
)

// addFeed prepares what keeps the table of Services that are balanced at connect.
func (p *parts) addFeed() error {
	o := p.options
	feed, err := services.New(services.Options{
		Address: o.Discovery, TokenFile: o.TokenFile, Roots: o.Clients.Authority, Node: o.Node,
		Balancer: p.programs, Metrics: p.balanced, Log: o.Log,
	})
	if err != nil {
		return fmt.Errorf("read --discovery: %w", err)
	}
	p.services = feed
	return nil
}

// beside keeps the table while eBPF captures new pods. Otherwise programs leaves
// the balancing to the proxies.
func (p *parts) beside(backend string) []func(context.Context) error {
	if backend != onnode.EBPF {
		return nil
	}
	return []func(context.Context) error{p.services.Run}
}
