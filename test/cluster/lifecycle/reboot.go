// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"

	"github.com/shuntmesh/shunt/test/cluster/cgroup"
	"github.com/shuntmesh/shunt/test/cluster/layout"
	"github.com/shuntmesh/shunt/test/cluster/machine"
	"github.com/shuntmesh/shunt/test/cluster/network"
)

// Reboot kills everything of a node at once, as a lost power supply would, starts it again and waits until it is Ready. What a
// disk would keep is kept: images, the kubelet's and the container runtime's files, logs.
func (c *Cluster) Reboot(ctx context.Context, name string) error {
	if err := requireRoot(); err != nil {
		return err
	}
	unlock, err := lock(lockSocket, "reboot "+name)
	if err != nil {
		return err
	}
	defer unlock()
	summary, err := c.Summary()
	if err != nil {
		return err
	}
	n, err := summary.node(name)
	if err != nil {
		return err
	}
	hierarchies, err := cgroup.Host()
	if err != nil {
		return err
	}
	if err := c.Progress.Step("kill "+name, func() error { return c.powerOff(ctx, n, hierarchies) }); err != nil {
		return err
	}
	return c.Progress.Step("start "+name, func() error {
		if err := network.Apply(ctx, network.Join(n, layout.Nodes(summary.Nodes))); err != nil {
			return err
		}
		if err := startNode(ctx, c, n, summary.Bin, hierarchies); err != nil {
			return err
		}
		return c.awaitNode(ctx, n, summary.Bin)
	})
}

func (c *Cluster) powerOff(ctx context.Context, n layout.Node, hierarchies []string) error {
	if err := machine.Kill(ctx, c.State, n.Name); err != nil {
		return err
	}
	if err := machine.ReleaseAll(c.State, n.Name); err != nil {
		return err
	}
	if err := cgroup.Remove(ctx, cgroup.Paths(hierarchies, n.Cgroup())); err != nil {
		return err
	}
	return network.Leave(ctx, n.Name)
}
