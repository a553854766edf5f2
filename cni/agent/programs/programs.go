// SPDX-License-Identifier: Apache-2.0

// Package programs keeps the eBPF programs of a node: it loads them, tests them,
// takes away what was written about pods that are gone, and says what there is.
// Pods need none of that to be captured, nor new ones to start: the programs are
// pinned, and the plugin writes what is per pod by itself.
//
// Programs stay for as long as a pod is captured by them, also where new pods go
// by another backend, and the agent looks after them all that time.
package programs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/task"
	"github.com/shuntmesh/shunt/redirect/ebpf"
)

// lookTimeout bounds one look: two self-tests, each of them with connections that
// may hang, and loading in between, which takes some hundred milliseconds.
const lookTimeout = 40 * time.Second

// ErrChoose says that the node has to choose its backend anew: the programs don't
// do their work any more, or do it again.
var ErrChoose = errors.New("choose the backend anew")

// Options is what Programs are made of. BPFFS may be empty: the node has none.
type Options struct {
	BPFFS      string // where the host's bpffs is mounted, here as on the host
	CgroupRoot string // control group above all pods of the node and no other's; "" to find it
	Cgroups    string // the host's /sys/fs/cgroup, as mounted here
	Proc       string // the host's /proc, as mounted here
	// Told takes what there is; nil where nothing is loaded. It must not block.
	Told func(*contract.NodePrograms)
	Log  *slog.Logger
}

// node is an ebpf.Node.
type node interface {
	Load(ctx context.Context) (changed bool, err error)
	Others() ([]ebpf.Other, error)
	SelfTest(ctx context.Context) error
	Collect(ctx context.Context) (int, error)
	Status() (ebpf.Status, error)
	Unload(ctx context.Context) error
}

// Programs are those of a node. Start, Run and Release are called one after the
// other, Ready at any time.
type Programs struct {
	options Options
	metrics *metrics
	find    func() (root string, err error)
	open    func(root string) node
	balance func(context.Context, []ebpf.Service) (ebpf.Balanced, error)

	// Of Start, Run and Release alone.
	root   string
	tests  tests
	failed error // of the last self-test
	told   *contract.NodePrograms
	toldAt time.Time

	mu   sync.Mutex
	last *contract.NodePrograms
	mode Mode
}

// New returns the programs of a node, of which nothing is known yet.
func New(o Options) *Programs {
	p := &Programs{options: o}
	p.find = func() (string, error) { return findRoot(o.Proc, o.Cgroups) }
	p.open = func(root string) node { return ebpf.Node{BPFFS: o.BPFFS, CgroupRoot: root, Proc: o.Proc} }
	p.balance = ebpf.Node{BPFFS: o.BPFFS, Proc: o.Proc}.Balance
	p.metrics = newMetrics(p.seen)
	return p
}

// Collectors are the metrics.
func (p *Programs) Collectors() []prometheus.Collector { return p.metrics.collectors() }

// Start makes this version's programs work on the node, and tries them. An error
// says why new pods can't be captured by them.
func (p *Programs) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	n, err := p.node()
	if err != nil {
		return err
	}
	if err := p.load(ctx, n); err != nil {
		return err
	}
	p.tests = tests{}
	p.test(ctx, n)
	p.collect(ctx, n)
	now := p.look(n)
	if p.failed != nil && now != nil && len(now.Others) > 0 {
		return fmt.Errorf("%w (others are at the same hooks: %s)", p.failed, join(now.Others))
	}
	return p.failed
}

// Run looks after the programs until ctx ends, and returns ErrChoose where the
// mode can't go on. Whatever else fails is logged and tried again.
func (p *Programs) Run(ctx context.Context, m Mode) error {
	p.mu.Lock()
	p.mode = m
	p.mu.Unlock()
	for first := m != Used; ; first = false { // Start has looked a moment ago
		if !first && !task.Sleep(ctx, period) {
			return nil
		}
		if err := p.turn(ctx, m); err != nil {
			return err
		}
	}
}

// turn looks once, and acts on it.
func (p *Programs) turn(ctx context.Context, m Mode) error {
	if p.options.BPFFS == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	n, rootless := p.node()
	if rootless != nil {
		n = p.open("")
	}
	s, err := n.Status()
	missing := errors.Is(err, fs.ErrNotExist)
	if rootless != nil && (m != Unwanted || !missing) {
		p.options.Log.Warn("look after the eBPF programs", "err", rootless)
	}
	switch {
	case missing && m == Used: // somebody has unpinned them, and with that let every pod go
		p.tests, p.failed = tests{failed: 1}, err
	case missing:
		p.tests, p.failed = tests{}, nil
		p.tell(nil)
	case err != nil:
		p.options.Log.Warn("look after the eBPF programs", "err", err)
		s.Pods = unknown
	default:
		p.collect(ctx, n)
		p.test(ctx, n)
		if m != Used {
			p.stopBalancing(ctx)
		}
	}
	return p.act(ctx, n, m, s.Pods)
}

// unknown is how many pods are captured where that can't be read: nothing is
// taken away from them.
const unknown = -1

func (p *Programs) act(ctx context.Context, n node, m Mode, pods int) error {
	select {
	case <-ctx.Done():
		return nil
	default:
	}
	todo := decide(m, p.tests, pods)
	if todo == repair {
		if err := p.load(ctx, n); err != nil {
			p.options.Log.Error("load the eBPF programs again", "err", err)
		}
		p.test(ctx, n)
		todo = decide(m, p.tests, pods)
	}
	if todo == takeAway {
		if err := p.takeAway(ctx, n); err != nil {
			p.options.Log.Warn("look after the eBPF programs", "err", err)
		}
		return nil
	}
	p.look(n)
	if todo == change {
		p.options.Log.Error("the eBPF programs", "used", m == Used, "err", p.failed)
		return ErrChoose
	}
	return nil
}

// Release takes the programs away where no pod needs them, and with all in any
// case: then nobody is captured by them any more. It says how many pods are.
func (p *Programs) Release(ctx context.Context, all bool) (pods int, err error) {
	if p.options.BPFFS == "" {
		return 0, nil
	}
	n := p.open(p.root)
	if !all {
		if pods, err = held(ctx, n); pods > 0 || err != nil {
			p.stopBalancing(ctx)
			return pods, err
		}
	}
	return 0, p.takeAway(ctx, n)
}

func (p *Programs) takeAway(ctx context.Context, n node) error {
	if err := n.Unload(ctx); err != nil {
		return fmt.Errorf("take the eBPF programs away: %w", err)
	}
	p.tests, p.failed = tests{}, nil
	p.tell(nil)
	return nil
}

// Ready returns nil unless pods are captured by programs that don't do their work.
func (p *Programs) Ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.last == nil, p.last.SelfTest == contract.NodePassed:
		return nil
	case p.mode == Used:
		return fmt.Errorf("not ready: the eBPF programs don't work: %s", p.last.SelfTest)
	case p.last.Pods > 0:
		return fmt.Errorf("not ready: %d pods are captured by eBPF programs that don't work: %s (restart these pods)", p.last.Pods, p.last.SelfTest)
	default:
		return nil
	}
}

func (p *Programs) seen() *contract.NodePrograms {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// node opens what is pinned, and finds the control group the first time.
func (p *Programs) node() (node, error) {
	if p.root == "" {
		p.root = p.options.CgroupRoot
	}
	if p.root == "" {
		var err error
		if p.root, err = p.find(); err != nil {
			return nil, err
		}
	}
	return p.open(p.root), nil
}

// load gives back the memory that the kernel's types took.
func (p *Programs) load(ctx context.Context, n node) error {
	defer debug.FreeOSMemory()
	changed, err := n.Load(ctx)
	p.metrics.loaded(changed, err)
	if err == nil && changed {
		p.options.Log.Info("loaded the eBPF programs", "controlGroup", p.root, "bpffs", p.options.BPFFS)
	}
	return err
}

func (p *Programs) test(ctx context.Context, n node) {
	err := n.SelfTest(ctx)
	if ctx.Err() != nil {
		return // it says nothing
	}
	p.metrics.tested(err)
	p.tests, p.failed = p.tests.after(err == nil), err
	if err != nil {
		p.options.Log.Error("test the eBPF programs", "err", err, "inARow", p.tests.failed)
	}
}

func (p *Programs) collect(ctx context.Context, n node) {
	collected, err := n.Collect(ctx)
	p.metrics.collected.Add(float64(collected))
	if err != nil && ctx.Err() == nil {
		p.options.Log.Warn("collect what eBPF holds of deleted pods", "err", err)
	}
}
