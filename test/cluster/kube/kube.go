// SPDX-License-Identifier: Apache-2.0

// Package kube asks the API server by way of the cluster's own kubectl.
package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/shuntmesh/shunt/test/cluster/command"
	"github.com/shuntmesh/shunt/test/cluster/layout"
)

// Client runs kubectl as the cluster's administrator.
type Client struct {
	// Bin holds the binaries.
	Bin string
	// State is the cluster's state directory; kubectl's cache is kept there too.
	State layout.State
}

// Run runs kubectl and returns its standard output.
func (c Client) Run(ctx context.Context, args ...string) (string, error) { return c.run(ctx, "", args) }

// Apply applies a manifest.
func (c Client) Apply(ctx context.Context, manifest string) error {
	_, err := c.run(ctx, manifest, []string{"apply", "-f", "-"})
	return err
}

func (c Client) run(ctx context.Context, input string, args []string) (string, error) {
	base := []string{
		filepath.Join(c.Bin, "kubectl"), "--kubeconfig=" + c.State.Kubeconfig(),
		"--cache-dir=" + c.State.Path("kubectl-cache"), "--request-timeout=10s",
	}
	return command.Command{Args: append(base, args...), Input: strings.NewReader(input)}.Run(ctx)
}

// Node is what the API server knows of a node.
type Node struct {
	// Ready is the condition of that name. It stays true for 50 s after a node has died.
	Ready bool
	// BootID tells one boot of the node from the next, so whether Ready is of this one.
	BootID string
}

// Nodes returns all nodes by name.
func (c Client) Nodes(ctx context.Context) (map[string]Node, error) {
	text, err := c.Run(ctx, "get", "nodes", "-o", "json")
	if err != nil {
		return nil, err
	}
	return parseNodes([]byte(text))
}

func parseNodes(text []byte) (map[string]Node, error) {
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct {
				Conditions []struct{ Type, Status string }
				NodeInfo   struct{ BootID string }
			}
		}
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("read the list of nodes: %w", err)
	}
	nodes := map[string]Node{}
	for _, item := range list.Items {
		node := Node{BootID: item.Status.NodeInfo.BootID}
		for _, condition := range item.Status.Conditions {
			node.Ready = node.Ready || condition.Type == "Ready" && condition.Status == "True"
		}
		nodes[item.Metadata.Name] = node
	}
	return nodes, nil
}

// ErrWaiting says that nothing is wrong yet.
var ErrWaiting = errors.New("not yet")

// Await calls check until it returns nil, or ctx ends: then the error says what was awaited and what stood in the way last.
func Await(ctx context.Context, what string, check func(context.Context) error) error {
	retry := time.NewTicker(200 * time.Millisecond)
	defer retry.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("await %s: %w: %w", what, context.Cause(ctx), err)
		case <-retry.C:
		}
	}
}
