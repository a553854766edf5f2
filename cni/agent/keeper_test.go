// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shuntmesh/shunt/cni/agent/programs"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/task"
	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/backends/onnode"
)

// node is what a keeper works on, without a machine.
type node struct {
	*testing.T
	mu      sync.Mutex
	story   []string // what was done, in order
	found   []backends.Detected
	wish    string
	changed chan struct{}
	gone    bool
	away    bool  // nobody can be asked about the DaemonSet
	refuse  error // what Uninstall ends in
	fails   error // what the installer's Run ends in
	running int   // parts
	broken  error // why the eBPF programs don't start
	chosen  bool  // eBPF programs that run ask for another choice, once
	mode    programs.Mode
	pods    int // that eBPF captures
	beside  map[string][]func(context.Context) error
	state   *state
}

func newNode(t *testing.T) *node {
	return &node{T: t, changed: make(chan struct{}, 1), state: newState(), found: []backends.Detected{{Backend: "nftables", Works: true, Auto: true}}}
}

func (n *node) tell(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.story = append(n.story, fmt.Sprintf(format, args...))
}

func (n *node) told() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.story, ", ")
}

func (n *node) set(f func()) {
	n.mu.Lock()
	f()
	n.mu.Unlock()
	select {
	case n.changed <- struct{}{}:
	default:
	}
	synctest.Wait()
}

func (n *node) Uninstall() string        { n.mu.Lock(); defer n.mu.Unlock(); return n.wish }
func (n *node) Changed() <-chan struct{} { return n.changed }
func (n *node) Gone(context.Context, time.Duration) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.away {
		return false, errors.New("connection refused")
	}
	return n.gone, nil
}

// part is an installer or a repairer.
type part struct {
	n             *node
	name, backend string
}

func (p part) Run(ctx context.Context) error {
	p.n.tell("%s runs %s", p.name, p.backend)
	p.n.mu.Lock()
	p.n.running++
	fails := p.n.fails
	p.n.mu.Unlock()
	if p.name == "installer" {
		if fails != nil {
			return fails
		}
		p.n.state.setPlugin(nil)
	}
	<-ctx.Done()
	time.Sleep(100 * time.Millisecond) // it takes a while to end
	p.n.mu.Lock()
	p.n.running--
	p.n.mu.Unlock()
	return nil
}

func (p part) Uninstall(context.Context) error {
	p.n.mu.Lock()
	refuse, running := p.n.refuse, p.n.running
	p.n.mu.Unlock()
	if running > 0 {
		p.n.Errorf("uninstalled while %d parts were running", running)
	}
	p.n.tell("uninstall")
	return refuse
}

func (p part) Remove(context.Context) (int, error) {
	p.n.tell("remove rules")
	return 3, nil
}

// bpf is the node's eBPF programs.
type bpf struct{ n *node }

func (b bpf) Start(context.Context) error {
	b.n.tell("programs start")
	b.n.mu.Lock()
	defer b.n.mu.Unlock()
	return b.n.broken
}

func (b bpf) Run(ctx context.Context, m programs.Mode) error {
	b.n.mu.Lock()
	b.n.mode = m
	b.n.mu.Unlock()
	for {
		b.n.mu.Lock()
		chosen := b.n.chosen
		b.n.chosen = false
		b.n.mu.Unlock()
		if chosen {
			return programs.ErrChoose
		}
		if !task.Sleep(ctx, time.Minute) {
			return nil
		}
	}
}

func (b bpf) Release(_ context.Context, all bool) (int, error) {
	b.n.mu.Lock()
	pods, running := b.n.pods, b.n.running
	b.n.mu.Unlock()
	if running > 0 {
		b.n.Errorf("released while %d parts were running", running)
	}
	if all || pods == 0 {
		b.n.tell("unload")
		return 0, nil
	}
	return pods, nil
}

// start runs a keeper, and returns what stops it and returns its error.
func (n *node) start(want string) (stop func() error) {
	k := &keeper{
		want: want, wishes: n, state: n.state, log: slog.New(slog.DiscardHandler),
		detect: func(context.Context) ([]backends.Detected, error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.found, nil
		},
		programs:  bpf{n},
		installer: func(backend string) Installer { return part{n, "installer", backend} },
		repairer:  func(backend string) repairer { return part{n, "repairer", backend} },
		beside:    func(backend string) []func(context.Context) error { return n.beside[backend] },
		forget:    func(context.Context) error { n.tell("forget"); return nil },
	}
	ctx, cancel := context.WithCancel(n.Context())
	done := make(chan error, 1)
	go func() { done <- k.run(ctx) }()
	synctest.Wait()
	return func() error {
		cancel()
		return <-done
	}
}

func sorted(story string) string { // the two parts start in any order
	return strings.Replace(story, "repairer runs nftables, installer runs nftables", "installer runs nftables, repairer runs nftables", 1)
}

func TestAgentEnds(t *testing.T) {
	const started = "installer runs nftables, repairer runs nftables"
	for what, tt := range map[string]struct {
		gone, away bool
		want       string
	}{
		"an update":                 {want: started},
		"nobody can be asked":       {gone: true, away: true, want: started},
		"the DaemonSet was deleted": {gone: true, want: started + ", uninstall, unload, forget"},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := newNode(t)
			n.gone, n.away = tt.gone, tt.away
			stop := n.start(backends.Auto)
			if err := n.state.ready(); err != nil {
				t.Error(err)
			}
			if err := stop(); err != nil || sorted(n.told()) != tt.want {
				t.Errorf("%s: %q, %v; want %q", what, n.told(), err, tt.want)
			}
		})
	}
}

func TestUninstallByAnnotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		stop := n.start(backends.Auto)
		n.set(func() { n.wish, n.refuse = contract.UninstallPlugin, errors.New("read-only file system") })
		time.Sleep(time.Second)
		if got := n.state.get().Plugin; got != "waiting: uninstall plugin: read-only file system" || n.state.ready() == nil {
			t.Errorf("the Node says %q, ready %v", got, n.state.ready())
		}
		n.set(func() { n.refuse = nil })
		time.Sleep(uninstallPause)
		synctest.Wait()
		if got := n.state.get(); got.Plugin != contract.NodeUninstalled || got.Rules != "" {
			t.Errorf("the Node says %+v", got)
		}
		time.Sleep(time.Hour)
		n.set(func() { n.wish = contract.UninstallRules })
		if got := n.state.get(); got.Plugin != contract.NodeUninstalled || got.Rules != contract.NodeRemoved {
			t.Errorf("the Node says %+v", got)
		}
		n.set(func() { n.wish = "" })
		synctest.Wait()
		if got := n.state.get(); got.Plugin != contract.NodeInstalled || got.Rules != "" || n.state.ready() != nil {
			t.Errorf("taken back: the Node says %+v", got)
		}
		n.set(func() { n.wish, n.gone = contract.UninstallRules, true })
		time.Sleep(time.Second)
		want := "installer runs nftables, repairer runs nftables, uninstall, uninstall, unload, uninstall, remove rules, unload, " +
			"installer runs nftables, repairer runs nftables, uninstall, remove rules, unload, forget"
		if err := stop(); err != nil {
			t.Error(err)
		}
		got := strings.ReplaceAll(n.told(), "repairer runs nftables, installer runs nftables", "installer runs nftables, repairer runs nftables")
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// TestEBPF is preferred: another backend stands in while it doesn't work, and
// pods that it captures keep its programs.
func TestEBPF(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.broken, n.pods = errors.New("probe node:\n no bpffs"), 3
		besides := make(chan bool, 1)
		n.beside = map[string][]func(context.Context) error{onnode.EBPF: {func(ctx context.Context) error {
			besides <- true
			<-ctx.Done()
			return nil
		}}}
		stop := n.start(onnode.EBPF)
		want := contract.Node{Backend: "nftables", Preferred: "ebpf", Reason: "ebpf was asked for by --backend, and does not work here: probe node: no bpffs; instead the first that works here"}
		if got := n.state.get(); got.Backend != want.Backend || got.Preferred != want.Preferred || got.Reason != want.Reason || n.state.ready() != nil {
			t.Errorf("the Node says %+v, want %+v", got, want)
		}
		if n.mode != programs.Standby || len(besides) > 0 {
			t.Errorf("mode %d, %d beside", n.mode, len(besides))
		}
		n.set(func() { n.broken, n.chosen = nil, true }) // they work, and ask for another choice
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := n.state.get(); got.Backend != "ebpf" || got.Preferred != "" || n.mode != programs.Used || len(besides) != 1 {
			t.Errorf("the Node says %+v, mode %d, %d beside", got, n.mode, len(besides))
		}
		n.set(func() { n.broken, n.chosen = errors.New("outbound: refused"), true })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := n.state.get(); got.Backend != "nftables" || !strings.Contains(got.Reason, "outbound: refused") || n.mode != programs.Standby {
			t.Errorf("the Node says %+v, mode %d", got, n.mode)
		}
		n.set(func() { n.wish = contract.UninstallPlugin })
		time.Sleep(time.Second)
		if got := n.told(); strings.Contains(got, "unload") {
			t.Errorf("%q: the programs are gone, and pods are captured by them", got)
		}
		n.set(func() { n.wish = contract.UninstallRules })
		time.Sleep(time.Second)
		if got := n.told(); !strings.HasSuffix(got, "uninstall, remove rules, unload") {
			t.Errorf("%q: the programs are still there", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestNoBackendYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.found = []backends.Detected{{Backend: "nftables", Why: "no module"}}
		stop := n.start(backends.Auto)
		time.Sleep(time.Minute)
		if got := n.state.get(); got.Backend != "" || !strings.Contains(got.Reason, "no module") || n.told() != "" || n.state.ready() == nil {
			t.Errorf("the Node says %+v, done %q", got, n.told())
		}
		n.set(func() { n.found = []backends.Detected{{Backend: "nftables", Works: true, Auto: true}} })
		time.Sleep(detectPause)
		synctest.Wait()
		if got := sorted(n.told()); got != "installer runs nftables, repairer runs nftables" {
			t.Errorf("done %q", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestInstallerThatNeedsARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.fails = errors.New("the folder was replaced")
		stop := n.start(backends.Auto)
		time.Sleep(time.Second)
		if err := stop(); !errors.Is(err, n.fails) {
			t.Errorf("%v", err)
		}
	})
}
