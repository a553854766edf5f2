// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/shuntmesh/shunt/test/cluster/lifecycle"
)

// daemonLimit is how long the stop or the start of one daemon may take; it takes a second.
const daemonLimit = time.Minute

func (c *call) up(ctx context.Context, flags *flag.FlagSet, args []string) error {
	nodes := flags.Int("nodes", 2, "how many `nodes` the cluster has")
	timeout := flags.Duration("timeout", 5*time.Minute, "how long the start may take, without the build")
	cluster, err := c.cluster(flags, args, 0)
	if err != nil {
		return err
	}
	source, err := c.sourceDir()
	if err != nil {
		return err
	}
	if err := cluster.Up(ctx, lifecycle.UpOptions{Nodes: *nodes, Source: source, Timeout: *timeout}); err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "    export KUBECONFIG=%s\n", cluster.State.Kubeconfig())
	return nil
}

func (c *call) down(ctx context.Context, flags *flag.FlagSet, args []string) error {
	cluster, err := c.cluster(flags, args, 0)
	if err != nil {
		return err
	}
	return cluster.Down(ctx)
}

func (c *call) status(ctx context.Context, flags *flag.FlagSet, args []string) error {
	format := flags.String("o", "table", "output `format`: table or json")
	cluster, err := c.cluster(flags, args, 0)
	if err != nil {
		return err
	}
	if *format != "table" && *format != "json" {
		return fmt.Errorf("flag -o %q: neither table nor json: %w", *format, errUsage)
	}
	status, err := cluster.Status(ctx)
	if err != nil {
		return err
	}
	if *format == "json" {
		return status.WriteJSON(c.stdout)
	}
	return status.WriteTable(c.stdout)
}

func (c *call) loadImage(ctx context.Context, flags *flag.FlagSet, args []string) error {
	cluster, err := c.cluster(flags, args, -1)
	if err != nil {
		return err
	}
	return cluster.LoadImages(ctx, flags.Args())
}

func (c *call) reboot(ctx context.Context, flags *flag.FlagSet, args []string) error {
	timeout := flags.Duration("timeout", 5*time.Minute, "how long the node may take to be Ready again")
	cluster, err := c.cluster(flags, args, 1)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, *timeout, fmt.Errorf("not done within %v (see -timeout)", *timeout))
	defer cancel()
	return cluster.Reboot(ctx, flags.Arg(0))
}

func (c *call) stop(ctx context.Context, flags *flag.FlagSet, args []string) error {
	cluster, err := c.cluster(flags, args, 2)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, daemonLimit, fmt.Errorf("not done within %v", daemonLimit))
	defer cancel()
	return cluster.Stop(ctx, flags.Arg(0), flags.Arg(1))
}

func (c *call) start(ctx context.Context, flags *flag.FlagSet, args []string) error {
	cluster, err := c.cluster(flags, args, 2)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, daemonLimit, fmt.Errorf("not done within %v (look into the daemon's log)", daemonLimit))
	defer cancel()
	return cluster.Start(ctx, flags.Arg(0), flags.Arg(1))
}

func (c *call) build(ctx context.Context, flags *flag.FlagSet, args []string) error {
	cluster, err := c.cluster(flags, args, 0)
	if err != nil {
		return err
	}
	source, err := c.sourceDir()
	if err != nil {
		return err
	}
	dir, err := cluster.Build(ctx, source)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.stdout, dir)
	return nil
}

func (c *call) kubeconfig(_ context.Context, flags *flag.FlagSet, args []string) error {
	cluster, err := c.cluster(flags, args, 0)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.stdout, cluster.State.Kubeconfig())
	return nil
}

func (c *call) bin(_ context.Context, flags *flag.FlagSet, args []string) error {
	cluster, err := c.cluster(flags, args, 0)
	if err != nil {
		return err
	}
	summary, err := cluster.Summary()
	if err != nil {
		return err
	}
	fmt.Fprintln(c.stdout, summary.Bin)
	return nil
}
