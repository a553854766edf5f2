// SPDX-License-Identifier: Apache-2.0

// Package lifecycle starts, stops, shows and reboots the cluster. It is the only package that knows the order of things; what
// things are made of is said by the packages that it puts together.
package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/shuntmesh/shunt/test/cluster/kube"
	"github.com/shuntmesh/shunt/test/cluster/layout"
	"github.com/shuntmesh/shunt/test/cluster/progress"
)

// Cluster is one cluster of this host, up or down.
type Cluster struct {
	// State is the directory of all its files.
	State layout.State
	// Progress tells what goes on.
	Progress *progress.Printer
}

// Summary is what is known of a cluster that is up.
type Summary struct {
	// Nodes is how many nodes it has.
	Nodes int `json:"nodes"`
	// Bin is the directory of the binaries that it runs.
	Bin string `json:"bin"`
}

// stateMarker tells a state directory from a directory that was named by mistake: only a directory that has it is emptied.
const stateMarker = ".shunt-cluster"

// New returns the cluster of a state directory.
func New(state string, p *progress.Printer) (*Cluster, error) {
	if !filepath.IsAbs(state) {
		return nil, fmt.Errorf("use state directory %q: not an absolute path", state)
	}
	for _, hidden := range []string{"/run", "/var/run", "/var/log", "/proc", "/sys", "/etc/cni", "/opt/cni", "/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni"} {
		if state == hidden || strings.HasPrefix(state, hidden+"/") {
			return nil, fmt.Errorf("use state directory %q: a node has its own %s (choose another place)", state, hidden)
		}
	}
	return &Cluster{State: layout.State(filepath.Clean(state)), Progress: p}, nil
}

// ErrNotUp is returned for a cluster that was not started, or not to the end.
var ErrNotUp = errors.New("cluster is not up")

// Summary returns what is known of the cluster, or an error that wraps [ErrNotUp].
func (c *Cluster) Summary() (Summary, error) {
	text, err := os.ReadFile(c.State.Summary())
	if errors.Is(err, os.ErrNotExist) {
		return Summary{}, fmt.Errorf("look into %s: %w (run `cluster up`)", c.State, ErrNotUp)
	}
	if err != nil {
		return Summary{}, fmt.Errorf("look into %s: %w", c.State, err)
	}
	var s Summary
	if err := json.Unmarshal(text, &s); err != nil {
		return Summary{}, fmt.Errorf("read %s: %w", c.State.Summary(), err)
	}
	return s, nil
}

func (c *Cluster) writeSummary(s Summary) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the summary: %w", err)
	}
	path := c.State.Summary()
	if err := os.WriteFile(path+".half", text, 0o644); err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	if err := os.Rename(path+".half", path); err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	return nil
}

func (c *Cluster) kube(bin string) kube.Client { return kube.Client{Bin: bin, State: c.State} }

// requireRoot says early what would otherwise fail in the middle.
func requireRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("make network namespaces: not root (use sudo)")
	}
	return nil
}

// each calls f for every item side by side, and joins the errors.
func each[T any](ctx context.Context, items []T, f func(context.Context, T) error) error {
	errs := make([]error, len(items))
	var all sync.WaitGroup
	for i, item := range items {
		all.Go(func() { errs[i] = f(ctx, item) })
	}
	all.Wait()
	return errors.Join(errs...)
}
