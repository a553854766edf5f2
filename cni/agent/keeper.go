// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/shuntmesh/shunt/cni/agent/programs"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/task"
	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/backends/onnode"
)

const (
	// detectPause is the time between two attempts to find a backend that works:
	// modules may be loaded later.
	detectPause = 15 * time.Second
	// uninstallPause is the time between two attempts to uninstall.
	uninstallPause = 5 * time.Second
	// uninstallTimeout bounds one of them, and goneTimeout the question whether to:
	// the kubelet gives us 30 s in all.
	uninstallTimeout = 15 * time.Second
	goneTimeout      = 5 * time.Second
)

// Installer keeps the plugin in place on the node.
type Installer interface {
	// Run keeps it in place until ctx ends, and leaves everything then. It may be
	// called again after it has returned.
	Run(ctx context.Context) error
	// Uninstall takes it away, after Run has returned: first what calls it.
	Uninstall(ctx context.Context) error
}

// repairer keeps the pods of the node captured.
type repairer interface {
	Run(ctx context.Context) error
	// Remove takes the rules from them, after Run has returned.
	Remove(ctx context.Context) (removed int, err error)
}

// nodePrograms are the node's eBPF programs; programs.Programs says more.
type nodePrograms interface {
	Start(ctx context.Context) error
	Run(ctx context.Context, m programs.Mode) error
	Release(ctx context.Context, all bool) (pods int, err error)
}

// wishes say what is asked of all agents.
type wishes interface {
	Uninstall() string // "" for nothing
	Changed() <-chan struct{}
	Gone(ctx context.Context, timeout time.Duration) (bool, error)
}

// keeper makes the node as it is wished to be: with the plugin and with captured
// pods, or without.
type keeper struct {
	want      string // a backend's name, or backends.Auto
	detect    func(context.Context) ([]backends.Detected, error)
	programs  nodePrograms
	installer func(backend string) Installer
	repairer  func(backend string) repairer
	// beside are what runs while a backend captures new pods, beside the others.
	beside func(backend string) []func(context.Context) error
	wishes wishes
	forget func(context.Context) error // what was said of the node
	state  *state
	log    *slog.Logger
}

// run works until ctx ends. Then all stays in place, unless the agents are
// being uninstalled.
func (k *keeper) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if what := k.wishes.Uninstall(); what != "" {
			k.remove(ctx, what)
			continue
		}
		if err := k.keep(ctx); err != nil {
			return err
		}
	}
	k.leave(context.WithoutCancel(ctx))
	return nil
}

// keep returns when ctx ends, or something else is wished.
func (k *keeper) keep(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() {
		if k.until(ctx, func(wish string) bool { return wish != "" }) {
			cancel()
		}
	})
	c := k.choose(ctx)
	if c.backend == "" {
		return nil
	}
	parts := []func(context.Context) error{
		k.installer(c.backend).Run, k.repairer(c.backend).Run,
		func(ctx context.Context) error { return k.programs.Run(ctx, c.mode()) },
	}
	err := task.Join(ctx, append(parts, k.beside(c.backend)...)...)
	if errors.Is(err, programs.ErrChoose) {
		return nil
	}
	return err
}

// until returns true when a wish of that kind is there, false when ctx ends.
func (k *keeper) until(ctx context.Context, is func(wish string) bool) bool {
	for !is(k.wishes.Uninstall()) {
		select {
		case <-ctx.Done():
			return false
		case <-k.wishes.Changed():
		}
	}
	return true
}

// choose tries until a backend works. Without one nothing is installed: a pod
// had better wait with its validator's message than fail in the runtime.
func (k *keeper) choose(ctx context.Context) choice {
	for {
		c := k.attempt(ctx)
		if ctx.Err() != nil {
			return choice{}
		}
		k.state.setChoice(c)
		if c.backend != "" {
			k.log.Info("chose backend", "backend", c.backend, "reason", c.reason)
			return c
		}
		k.log.Error("choose backend", "reason", c.reason, "pause", detectPause.String())
		if !task.Sleep(ctx, detectPause) {
			return choice{}
		}
	}
}

// attempt tries once. eBPF is tried by its programs' own test; where they don't
// work, what Auto comes to stands in for them.
func (k *keeper) attempt(ctx context.Context) choice {
	if k.want != onnode.EBPF {
		return k.tried(ctx, k.want)
	}
	err := k.programs.Start(ctx)
	if err == nil {
		return choice{backend: onnode.EBPF, reason: worksHere}
	}
	return k.tried(ctx, backends.Auto).insteadOf(onnode.EBPF, err)
}

// tried is the choice among backends that need nothing of the node.
func (k *keeper) tried(ctx context.Context, want string) choice {
	found, err := k.detect(ctx)
	if err != nil {
		return choice{reason: "the backends can't be tried: " + contract.OneLine(err.Error())}
	}
	return choose(want, found)
}

// remove uninstalls what the wish says, answers, and returns when another is
// there or ctx ends. The order leaves no pod half captured: nobody repairs any
// more, no new pod is captured, and then the rules go.
func (k *keeper) remove(ctx context.Context, what string) {
	for ctx.Err() == nil && k.wishes.Uninstall() == what {
		if err := k.uninstall(ctx, what == contract.UninstallRules); err != nil {
			k.log.Error("uninstall", "err", err, "pause", uninstallPause.String())
			k.state.setPlugin(err)
			task.Sleep(ctx, uninstallPause)
			continue
		}
		k.until(ctx, func(wish string) bool { return wish != what })
	}
}

func (k *keeper) uninstall(ctx context.Context, rules bool) error {
	ctx, cancel := context.WithTimeout(ctx, uninstallTimeout)
	defer cancel()
	if err := k.installer("").Uninstall(ctx); err != nil {
		return fmt.Errorf("uninstall plugin: %w", err)
	}
	k.log.Info("uninstalled the plugin")
	said := ""
	if rules {
		removed, err := k.repairer("").Remove(ctx)
		if err != nil {
			return err
		}
		k.log.Info("removed the rules of pods", "pods", removed)
		said = contract.NodeRemoved
	}
	pods, err := k.programs.Release(ctx, rules)
	if err != nil {
		return err
	}
	if pods > 0 {
		k.log.Warn("leave the eBPF programs in place, since pods are captured by them", "pods", pods)
	}
	k.state.update(func(n *contract.Node) { n.Plugin, n.Rules = contract.NodeUninstalled, said })
	return nil
}

// leave decides what becomes of the node when the agent ends. An update, a drain
// or an eviction leaves everything; so does not knowing.
func (k *keeper) leave(ctx context.Context) {
	gone, err := k.wishes.Gone(ctx, goneTimeout)
	switch {
	case err != nil:
		k.log.Warn("leave the plugin in place, since it can't be known whether the agents are being uninstalled", "err", err)
		return
	case !gone:
		k.log.Info("leave the plugin in place: the DaemonSet is there")
		return
	}
	if k.state.get().Plugin != contract.NodeUninstalled {
		if err := k.uninstall(ctx, false); err != nil {
			k.log.Error("uninstall", "err", err)
			return
		}
	}
	if err := k.forget(ctx); err != nil {
		k.log.Warn("forget the node", "err", err)
	}
}
