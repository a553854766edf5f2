// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/shuntmesh/shunt/test/cluster/cgroup"
	"github.com/shuntmesh/shunt/test/cluster/host"
	"github.com/shuntmesh/shunt/test/cluster/layout"
	"github.com/shuntmesh/shunt/test/cluster/machine"
	"github.com/shuntmesh/shunt/test/cluster/network"
)

// downTimeout bounds how long the kernel may take to bury what was killed.
const downTimeout = time.Minute

// Down removes every trace of the cluster but the cache of binaries. A cluster that is down is no error.
func (c *Cluster) Down(ctx context.Context) error {
	if err := requireRoot(); err != nil {
		return err
	}
	unlock, err := lock(lockSocket, "down")
	if err != nil {
		return err
	}
	defer unlock()
	return c.clean(ctx)
}

// clean removes a running cluster, or what a killed run has left. It goes by the marks of what it finds, not by what files
// say should be there.
func (c *Cluster) clean(ctx context.Context) error {
	hierarchies, err := cgroup.Host()
	if err != nil {
		return err
	}
	cgroups, err := cgroup.Find(hierarchies)
	if err != nil {
		return err
	}
	if err := c.refuseForeign(cgroups); err != nil {
		return err
	}
	namespaces, links, err := network.Found()
	if err != nil {
		return err
	}
	_, err = os.Lstat(string(c.State))
	if err != nil && len(cgroups)+len(namespaces)+len(links) == 0 {
		return nil
	}
	return c.Progress.Step("remove the cluster that is there", func() error {
		ctx, cancel := context.WithTimeout(ctx, downTimeout)
		defer cancel()
		return c.remove(ctx, cgroups)
	})
}

func (c *Cluster) remove(ctx context.Context, cgroups []string) error {
	for _, name := range machines() {
		if err := machine.Kill(ctx, c.State, name); err != nil {
			return err
		}
	}
	if err := cgroup.Remove(ctx, cgroups); err != nil {
		return err
	}
	if err := network.Remove(ctx); err != nil {
		return err
	}
	if err := host.Restore(ctx, c.State.Path("host.json")); err != nil {
		return err
	}
	return c.removeState()
}

// machines returns the names that a machine may have.
func machines() []string {
	names := []string{layout.ControlPlane}
	for _, n := range layout.Nodes(layout.MaxNodes) {
		names = append(names, n.Name)
	}
	return names
}

// removeState removes the state directory, if it is one. The marker goes last, so that a broken-off removal can go on.
func (c *Cluster) removeState() error {
	dir := string(c.State)
	_, err := os.Stat(c.State.Path(stateMarker))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove the state directory: %w", err)
	}
	if err := host.UnmountBeneath(dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("remove the state directory: %w", err)
	}
	for _, entry := range entries {
		if entry.Name() == stateMarker {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return fmt.Errorf("remove the state directory: %w", err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the state directory: %w", err)
	}
	return nil
}

// refuseForeign refuses to remove a running cluster that has another state directory: there can be one cluster on a host,
// but it may not be this one's to end.
func (c *Cluster) refuseForeign(cgroups []string) error {
	for _, dir := range cgroups {
		pids, err := cgroup.Processes(filepath.Join(dir, layout.Daemons))
		if err != nil {
			return err
		}
		for _, pid := range pids {
			if other, ok := stateOf(pid); ok && other != c.State {
				return fmt.Errorf("change the cluster of %s: the cluster of %s is up (end it first: `cluster -state %[2]s down`)", c.State, other)
			}
		}
	}
	return nil
}

// stateOf returns the state directory of the machine whose first process pid is, by its command line.
func stateOf(pid int) (layout.State, bool) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return "", false
	}
	args := strings.Split(string(bytes.TrimRight(text, "\x00")), "\x00")
	if len(args) < 3 || args[1] != machine.InitVerb {
		return "", false
	}
	// <state>/<machine>/machine.json
	return layout.State(filepath.Dir(filepath.Dir(args[2]))), true
}

// errNoNode is returned for a node that the cluster doesn't have.
var errNoNode = errors.New("no such node")

// node returns a node of the running cluster by its name.
func (s Summary) node(name string) (layout.Node, error) {
	var names []string
	for _, n := range layout.Nodes(s.Nodes) {
		if n.Name == name {
			return n, nil
		}
		names = append(names, n.Name)
	}
	return layout.Node{}, fmt.Errorf("find node %q: %w (there are: %s)", name, errNoNode, strings.Join(names, ", "))
}
