// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"fmt"
	"time"

	"github.com/shuntmesh/shunt/test/cluster/build"
	"github.com/shuntmesh/shunt/test/cluster/layout"
	"github.com/shuntmesh/shunt/test/cluster/machine"
	"github.com/shuntmesh/shunt/test/cluster/prereq"
)

// UpOptions say what cluster to start.
type UpOptions struct {
	// Nodes is how many nodes it gets, 1 to [layout.MaxNodes].
	Nodes int
	// Source is the folder of this module.
	Source string
	// Timeout bounds the start, without the build.
	Timeout time.Duration
}

// starting is one run of Up.
type starting struct {
	*Cluster
	nodes       []layout.Node
	bin         string
	hierarchies []string
}

// Up starts the cluster and returns when its nodes are Ready and its DNS answers. A cluster that is up as wanted is left as it
// is; anything else that was left is removed first.
func (c *Cluster) Up(ctx context.Context, o UpOptions) error {
	if err := requireRoot(); err != nil {
		return err
	}
	if o.Nodes < 1 || o.Nodes > layout.MaxNodes {
		return fmt.Errorf("start %d nodes: out of range (allowed: 1 to %d)", o.Nodes, layout.MaxNodes)
	}
	unlock, err := lock(lockSocket, "up")
	if err != nil {
		return err
	}
	defer unlock()
	bin, err := c.binaries(ctx, o.Source)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("not done within %v (see -timeout)", o.Timeout))
	defer cancel()
	if c.upAs(ctx, Summary{Nodes: o.Nodes, Bin: bin}) {
		c.Progress.Note("the cluster is up already")
		return nil
	}
	if err := c.clean(ctx); err != nil {
		return err
	}
	s := starting{Cluster: c, nodes: layout.Nodes(o.Nodes), bin: bin}
	return s.run(ctx)
}

// Build builds the binaries and returns their directory.
func (c *Cluster) Build(ctx context.Context, source string) (string, error) {
	return c.binaries(ctx, source)
}

func (c *Cluster) binaries(ctx context.Context, source string) (string, error) {
	cache, err := build.CacheDir()
	if err != nil {
		return "", err
	}
	bin, err := build.Dir(ctx, source, cache)
	if err != nil {
		return "", err
	}
	if err := prereq.Ensure(ctx, len(build.Missing(bin)) > 0, c.Progress); err != nil {
		return "", err
	}
	return bin, build.All(ctx, source, bin, c.Progress)
}

// upAs reports whether a cluster as wanted is up and well.
func (c *Cluster) upAs(ctx context.Context, wanted Summary) bool {
	if have, err := c.Summary(); err != nil || have != wanted {
		return false
	}
	if _, err := machine.Find(c.State, layout.ControlPlane); err != nil {
		return false
	}
	nodes, err := c.kube(wanted.Bin).Nodes(ctx)
	if err != nil {
		return false
	}
	for _, n := range layout.Nodes(wanted.Nodes) {
		if _, err := machine.Find(c.State, n.Name); err != nil || !nodes[n.Name].Ready {
			return false
		}
	}
	return true
}

func (s *starting) run(ctx context.Context) error {
	steps := []struct {
		title string
		do    func(context.Context) error
	}{
		{"prepare files and certificates", s.prepare},
		{"make networks and cgroups", s.connect},
		{"start the control plane", s.startControlPlane},
		{fmt.Sprintf("start %d nodes", len(s.nodes)), s.startNodes},
		{"wait for nodes to be Ready", s.awaitNodes},
		{"wait for DNS", s.awaitDNS},
	}
	for _, step := range steps {
		if err := s.Progress.Step(step.title, func() error { return step.do(ctx) }); err != nil {
			s.Progress.Note("logs are in %s; `cluster down` removes what was started", s.State.Path("log"))
			return err
		}
	}
	return s.writeSummary(Summary{Nodes: len(s.nodes), Bin: s.bin})
}
