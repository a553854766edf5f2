// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/shuntmesh/shunt/test/cluster/addons"
	"github.com/shuntmesh/shunt/test/cluster/cgroup"
	"github.com/shuntmesh/shunt/test/cluster/command"
	"github.com/shuntmesh/shunt/test/cluster/controlplane"
	"github.com/shuntmesh/shunt/test/cluster/host"
	"github.com/shuntmesh/shunt/test/cluster/image"
	"github.com/shuntmesh/shunt/test/cluster/kube"
	"github.com/shuntmesh/shunt/test/cluster/layout"
	"github.com/shuntmesh/shunt/test/cluster/machine"
	"github.com/shuntmesh/shunt/test/cluster/network"
	"github.com/shuntmesh/shunt/test/cluster/node"
	"github.com/shuntmesh/shunt/test/cluster/pki"
)

// prepare writes all files. The record of the host comes first: what is not recorded can't be taken back.
func (s *starting) prepare(ctx context.Context) error {
	if err := network.Free(); err != nil {
		return err
	}
	record, err := host.Plan(machine.PrivateDirs())
	if err != nil {
		return err
	}
	if err := s.claim(); err != nil {
		return err
	}
	if err := record.Apply(ctx, s.State.Path("host.json")); err != nil {
		return err
	}
	if err := copySelf(s.State.Self()); err != nil {
		return err
	}
	authority, err := pki.NewAuthority(s.State.Path("pki"), time.Now())
	if err != nil {
		return err
	}
	if err := controlplane.Certify(authority, s.State); err != nil {
		return err
	}
	for _, n := range s.nodes {
		if err := node.Prepare(s.State, n, s.bin); err != nil {
			return err
		}
		if err := node.Certify(authority, s.State, n); err != nil {
			return err
		}
	}
	if err := image.Pack(s.State.Path("images", "pause.tar"), layout.PauseImage, filepath.Join(s.bin, "pause")); err != nil {
		return err
	}
	return image.Pack(s.State.Path("images", "coredns.tar"), layout.CoreDNSImage, filepath.Join(s.bin, "coredns"))
}

// claim makes the state directory. A directory that holds another's files is refused.
func (s *starting) claim() error {
	entries, err := os.ReadDir(string(s.State))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("use state directory: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("use state directory %s: it holds files that are not a cluster's (choose an empty one)", s.State)
	}
	if err := os.MkdirAll(string(s.State), 0o755); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	// The marker comes first: without it what follows could not be removed again.
	if err := os.WriteFile(s.State.Path(stateMarker), nil, 0o644); err != nil {
		return fmt.Errorf("mark the state directory: %w", err)
	}
	for _, dir := range []string{"log", "bin", "images"} {
		if err := os.Mkdir(s.State.Path(dir), 0o755); err != nil {
			return fmt.Errorf("make the state directory: %w", err)
		}
	}
	return nil
}

// copySelf keeps this program for the machines: `go run` deletes it when it is done.
func copySelf(to string) error {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("copy this program: %w", err)
	}
	if err := os.WriteFile(to, self, 0o755); err != nil {
		return fmt.Errorf("copy this program: %w", err)
	}
	return nil
}

func (s *starting) connect(ctx context.Context) (err error) {
	if s.hierarchies, err = cgroup.Host(); err != nil {
		return err
	}
	if err := network.Apply(ctx, network.Base()); err != nil {
		return err
	}
	for _, n := range s.nodes {
		if err := network.Apply(ctx, network.Join(n, s.nodes)); err != nil {
			return err
		}
	}
	return nil
}

func (s *starting) startControlPlane(ctx context.Context) error {
	join, err := cgroup.Make(s.hierarchies, layout.ControlPlaneCgroup)
	if err != nil {
		return err
	}
	if err := machine.Start(ctx, controlplane.Spec(s.State, s.bin, join), s.bin); err != nil {
		return err
	}
	api := s.kube(s.bin)
	err = kube.Await(ctx, "the API server", func(ctx context.Context) error {
		_, err := api.Run(ctx, "get", "--raw=/readyz")
		return err
	})
	if err != nil {
		return fmt.Errorf("%w%s%s", err, s.tail(layout.ControlPlane, "etcd"), s.tail(layout.ControlPlane, "kube-apiserver"))
	}
	manifest, err := addons.DNS()
	if err != nil {
		return err
	}
	// Some objects of the start are made after readyz: a moment later it works.
	return kube.Await(ctx, "the DNS server's objects", func(ctx context.Context) error { return api.Apply(ctx, manifest) })
}

func (s *starting) startNodes(ctx context.Context) error {
	return each(ctx, s.nodes, func(ctx context.Context, n layout.Node) error {
		if err := startNode(ctx, s.Cluster, n, s.bin, s.hierarchies); err != nil {
			return err
		}
		for _, file := range []string{"pause.tar", "coredns.tar"} {
			if err := s.load(ctx, n, s.bin, s.State.Path("images", file)); err != nil {
				return err
			}
		}
		if err := os.WriteFile(node.ImagesLoaded(s.State, n), nil, 0o644); err != nil {
			return fmt.Errorf("let the kubelet of %s start: %w", n.Name, err)
		}
		return nil
	})
}

// startNode starts a node's machine and returns when its container runtime answers.
func startNode(ctx context.Context, c *Cluster, n layout.Node, bin string, hierarchies []string) error {
	join, err := cgroup.Make(hierarchies, n.Cgroup())
	if err != nil {
		return err
	}
	decoys, err := machine.WriteDecoys(c.decoys(n))
	if err != nil {
		return err
	}
	if err := machine.Start(ctx, node.Spec(c.State, n, bin, join, decoys), bin); err != nil {
		return err
	}
	err = kube.Await(ctx, "containerd of "+n.Name, func(ctx context.Context) error {
		p, err := machine.Find(c.State, n.Name)
		if err != nil {
			return err
		}
		_, err = command.Run(ctx, p.Enter(ctr(bin, "version")...)...)
		return err
	})
	if err != nil {
		return fmt.Errorf("%w%s", err, c.tail(n.Name, "containerd"))
	}
	return nil
}

func (c *Cluster) decoys(n layout.Node) string { return c.State.Path(n.Name, "decoys") }

func (s *starting) awaitNodes(ctx context.Context) error {
	for _, n := range s.nodes {
		if err := s.awaitNode(ctx, n, s.bin); err != nil {
			return err
		}
	}
	return nil
}

// awaitNode waits until a node is Ready, and says so of this boot.
func (c *Cluster) awaitNode(ctx context.Context, n layout.Node, bin string) error {
	boot, err := machine.BootID(c.decoys(n))
	if err != nil {
		return err
	}
	err = kube.Await(ctx, "node "+n.Name, func(ctx context.Context) error {
		nodes, err := c.kube(bin).Nodes(ctx)
		if err != nil {
			return err
		}
		if node := nodes[n.Name]; !node.Ready || node.BootID != boot {
			return fmt.Errorf("node is not Ready: %w", kube.ErrWaiting)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w%s", err, c.tail(n.Name, "kubelet"))
	}
	return nil
}

func (s *starting) awaitDNS(ctx context.Context) error {
	api := s.kube(s.bin)
	return kube.Await(ctx, "the DNS server", func(ctx context.Context) error {
		ready, err := api.Run(ctx, "-n", "kube-system", "get", "deployment", "coredns", "-o", "jsonpath={.status.readyReplicas}")
		if err != nil {
			return err
		}
		if ready == "" || ready == "0" {
			pods, err := api.Run(ctx, "-n", "kube-system", "get", "pods", "-o", "wide")
			return fmt.Errorf("no DNS pod is ready: %w\n%s", errors.Join(err, kube.ErrWaiting), pods)
		}
		// A pod made right after this needs the account that the controller manager makes.
		_, err = api.Run(ctx, "-n", "default", "get", "serviceaccount", "default")
		return err
	})
}

// tail returns the end of a daemon's log, for an error.
func (c *Cluster) tail(machine, daemon string) string {
	return command.TailFile(c.State.Log(machine, daemon))
}
