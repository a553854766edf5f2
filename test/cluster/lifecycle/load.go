// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/shuntmesh/shunt/test/cluster/command"
	"github.com/shuntmesh/shunt/test/cluster/layout"
	"github.com/shuntmesh/shunt/test/cluster/machine"
	"github.com/shuntmesh/shunt/test/cluster/node"
)

// LoadImages puts the images of tarballs, as `docker save` makes them, into every node's container runtime.
func (c *Cluster) LoadImages(ctx context.Context, tarballs []string) error {
	if err := requireRoot(); err != nil {
		return err
	}
	summary, err := c.Summary()
	if err != nil {
		return err
	}
	for _, tarball := range tarballs {
		if _, err := os.Stat(tarball); err != nil {
			return fmt.Errorf("load an image: %w", err)
		}
	}
	for _, tarball := range tarballs {
		err := c.Progress.Step("load "+filepath.Base(tarball), func() error {
			return each(ctx, layout.Nodes(summary.Nodes), func(ctx context.Context, n layout.Node) error {
				return c.load(ctx, n, summary.Bin, tarball)
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// load puts the images of one tarball into one node.
func (c *Cluster) load(ctx context.Context, n layout.Node, bin, tarball string) (err error) {
	p, err := machine.Find(c.State, n.Name)
	if err != nil {
		return fmt.Errorf("load %s into %s: %w", tarball, n.Name, err)
	}
	f, err := os.Open(tarball)
	if err != nil {
		return fmt.Errorf("load %s into %s: %w", tarball, n.Name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	// The tarball is handed in: its path may mean something else inside of the node.
	_, err = command.Command{Args: p.Enter(ctr(bin, "images", "import", "--local", "-")...), Input: f}.Run(ctx)
	if err != nil {
		return fmt.Errorf("load %s into %s: %w", tarball, n.Name, err)
	}
	return nil
}

func ctr(bin string, args ...string) []string {
	return append([]string{filepath.Join(bin, "ctr"), "--address", node.ContainerdSocket, "--namespace", "k8s.io"}, args...)
}
