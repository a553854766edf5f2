// SPDX-License-Identifier: Apache-2.0

package repair

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shuntmesh/shunt/cni/agent/kube"
	"github.com/shuntmesh/shunt/cni/agent/podns"
	"github.com/shuntmesh/shunt/internal/events"
	"github.com/shuntmesh/shunt/redirect"
)

// node is a node's pods and their namespaces, without a kernel.
type node struct {
	*testing.T
	mu                 sync.Mutex
	pods               map[string]kube.Pod
	changed            chan struct{}
	sandbox            map[string]podns.Process
	captured           map[podns.Process]bool
	refuse             error              // what an attempt to capture ends in
	slow               time.Duration      // what an attempt takes
	acts               []string           // names of the pods, in order
	events             []events.Happening //
	finds              int                //
	atOnce, mostAtOnce int
	repairer           *Repairer
}

func newNode(t *testing.T) *node {
	n := &node{T: t, pods: map[string]kube.Pod{}, changed: make(chan struct{}, 1), sandbox: map[string]podns.Process{}, captured: map[podns.Process]bool{}}
	n.repairer = New(Options{
		Pods: n, Namespaces: n, Backend: "nftables", Metrics: NewMetrics(), Log: slog.New(slog.DiscardHandler),
		Record: func(h events.Happening) { n.mu.Lock(); defer n.mu.Unlock(); n.events = append(n.events, h) },
	})
	n.repairer.act = n.act
	return n
}

func (n *node) Each(f func(kube.Pod)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.pods {
		f(p)
	}
}
func (n *node) Changed() <-chan struct{} { return n.changed }
func (n *node) Ready() error             { return nil }

func (n *node) Find(wanted func(string) bool) (map[string]podns.Process, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.finds++
	found := maps.Clone(n.sandbox)
	maps.DeleteFunc(found, func(uid string, _ podns.Process) bool { return !wanted(uid) })
	return found, nil
}

func (n *node) Holds(p podns.Process) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.sandbox {
		if s == p {
			return true
		}
	}
	return false
}

func (n *node) Open(string, podns.Process) (*os.File, error) { return nil, errors.New("not here") }

func (n *node) act(ctx context.Context, p kube.Pod, process podns.Process) (deed, error) {
	n.mu.Lock()
	n.atOnce++
	n.mostAtOnce = max(n.mostAtOnce, n.atOnce)
	n.acts = append(n.acts, p.Name)
	slow, refuse := n.slow, n.refuse
	n.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		refuse = ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.atOnce--
	switch {
	case refuse != nil:
		return deed{}, refuse
	case n.sandbox[p.UID] != process:
		return deed{}, podns.ErrGone
	case n.captured[process]:
		return deed{}, nil
	}
	n.captured[process] = true
	return deed{by: "nftables", diff: &redirect.Difference{Where: "table", Want: "shunt", Got: "nothing"}}, nil
}

// set changes the node under its lock, and tells of it.
func (n *node) set(f func()) {
	n.mu.Lock()
	f()
	n.mu.Unlock()
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

func (n *node) add(name, status string) {
	n.set(func() {
		n.pods[name] = kube.Pod{UID: name, Namespace: "shop", Name: name, Status: status, Created: time.Now()}
	})
}

func (n *node) start(name string, pid int, captured bool) {
	p := podns.Process{PID: pid, Started: uint64(pid), Net: fmt.Sprintf("net:[%d]", pid)}
	n.set(func() { n.sandbox[name], n.captured[p] = p, captured })
}

func (n *node) isCaptured(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.captured[n.sandbox[name]]
}

func (n *node) reasons() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for _, h := range n.events {
		all = append(all, h.Object.Name+" "+h.Reason)
	}
	return strings.Join(all, ", ")
}

func (n *node) count(f func() int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return f()
}

// metric returns the value of a counter for the value of its only label.
func (n *node) metric(name, label string) float64 {
	n.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(n.repairer.options.Metrics.Collectors()...)
	families, err := registry.Gather()
	if err != nil {
		n.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue()
			}
		}
	}
	n.Fatalf("no metric %s{%s}", name, label)
	return 0
}

// run returns what stops the repairer and waits for all of it.
func (n *node) run() (stop func()) {
	ctx, cancel := context.WithCancel(n.Context())
	done := make(chan error, 1)
	go func() { done <- n.repairer.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			n.Errorf("Run: %v", err)
		}
	}
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestUncapturedPodIsRepaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		defer n.run()()
		n.add("web", status)
		n.add("init", `{"interception":"init"}`)
		n.add("plain", "")
		pass(10 * time.Second)
		n.start("web", 50, false)
		n.start("init", 51, false)
		n.start("plain", 52, false)
		pass(time.Second) // of 2 s that it may take
		if !n.isCaptured("web") || n.isCaptured("init") || n.isCaptured("plain") {
			t.Errorf("captured: web %v, init %v, plain %v; want web alone", n.isCaptured("web"), n.isCaptured("init"), n.isCaptured("plain"))
		}
		pass(time.Hour)
		if got := n.reasons(); got != "web CaptureRepaired" {
			t.Errorf("Events %q", got)
		}
		if got := n.metric("shunt_node_repairs_total", "repaired"); got != 1 {
			t.Errorf("%v repairs, want 1", got)
		}
	})
}

// TestRightPodIsLeftAlone counts what a quiet node costs: reads of all processes,
// and checks.
func TestRightPodIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		defer n.run()()
		n.add("web", status)
		n.start("web", 50, true)
		pass(time.Minute)
		if got := n.count(func() int { return len(n.acts) }); got < 10 || got > 14 {
			t.Errorf("%d checks in the first minute", got)
		}
		before, finds := n.count(func() int { return len(n.acts) }), n.count(func() int { return n.finds })
		pass(time.Hour)
		if got := n.count(func() int { return len(n.acts) }) - before; got > 12 {
			t.Errorf("%d checks in an hour", got)
		}
		if got := n.count(func() int { return n.finds }) - finds; got != 0 || n.reasons() != "" {
			t.Errorf("all processes were read %d times, Events %q, want nothing", got, n.reasons())
		}
	})
}

func TestNewSandboxOfThePod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		defer n.run()()
		n.add("web", status)
		n.start("web", 50, true)
		pass(time.Hour)
		n.start("web", 60, false) // no word of the API server's
		pass(time.Second)
		if !n.isCaptured("web") {
			t.Error("not repaired")
		}
	})
}

// TestSameNameAnotherPod is a StatefulSet's.
func TestSameNameAnotherPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		defer n.run()()
		n.add("db-0", status)
		n.start("db-0", 50, true)
		pass(time.Minute)
		n.set(func() {
			delete(n.pods, "db-0")
			delete(n.sandbox, "db-0")
			n.pods["second"] = kube.Pod{UID: "second", Namespace: "shop", Name: "db-0", Status: status, Created: time.Now()}
		})
		n.start("second", 60, false)
		pass(time.Second)
		if !n.isCaptured("second") || len(n.repairer.records) != 1 {
			t.Errorf("captured %v, records %v", n.isCaptured("second"), n.repairer.records)
		}
	})
}

func TestFailuresAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.refuse = &failure{failureRules, errors.New("no such device")}
		defer n.run()()
		n.add("web", status)
		n.start("web", 50, false)
		pass(10 * time.Minute)
		if got := n.count(func() int { return len(n.acts) }); got < 15 || got > 30 {
			t.Errorf("%d attempts in 10 minutes", got)
		}
		if got := n.metric("shunt_node_repair_failures_total", failureRules); got < 15 {
			t.Errorf("%v failures are counted", got)
		}
		if got := n.reasons(); !strings.HasPrefix(got, "web CaptureFailed") {
			t.Errorf("Events %q", got)
		}
		n.set(func() { n.refuse = nil })
		pass(31 * time.Second)
		if !n.isCaptured("web") || !strings.HasSuffix(n.reasons(), "web CaptureRepaired") {
			t.Errorf("captured %v, Events %q", n.isCaptured("web"), n.reasons())
		}
	})
}

func TestAnnotationThatCantBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		defer n.run()()
		n.add("web", `{"interception":"later"}`)
		n.start("web", 50, false)
		pass(time.Hour)
		if got := n.reasons(); got != "web CaptureFailed" || n.count(func() int { return n.finds + len(n.acts) }) != 0 {
			t.Errorf("Events %q, %d attempts; want one Event, and nothing tried", got, n.count(func() int { return n.finds + len(n.acts) }))
		}
		n.add("web", status)
		pass(time.Second)
		if !n.isCaptured("web") {
			t.Error("a corrected annotation is not followed")
		}
	})
}

// TestManyAtOnce has a node where nothing was captured, and slow kernels.
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.slow = 100 * time.Millisecond
		stop := n.run()
		for i := range 40 {
			n.add(fmt.Sprint(i), status)
			n.start(fmt.Sprint(i), 100+i, false)
		}
		pass(1600 * time.Millisecond) // 40 / 4 x 100 ms, after a look
		for i := range 40 {
			if !n.isCaptured(fmt.Sprint(i)) {
				t.Errorf("pod %d is not captured", i)
			}
		}
		if n.mostAtOnce != maxAtOnce {
			t.Errorf("%d at once, want %d", n.mostAtOnce, maxAtOnce)
		}
		n.set(func() { n.slow = time.Hour })
		n.start("7", 900, false)
		pass(time.Second)
		stop() // joins the one that hangs
	})
}

// TestPodsComeAndGo leaves nothing of 500 pods, whatever state they went in.
func TestPodsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.slow = 30 * time.Millisecond
		stop := n.run()
		for i := range 500 {
			name := fmt.Sprint(i)
			n.add(name, status)
			pass(time.Duration(i%7) * 100 * time.Millisecond)
			if i%5 > 0 {
				n.start(name, 1000+i, i%2 == 0)
			}
			pass(time.Duration(i%11) * 50 * time.Millisecond)
			n.set(func() { delete(n.pods, name); delete(n.sandbox, name) })
		}
		pass(time.Second)
		stop()
		if len(n.repairer.records) != 0 || len(n.repairer.queue) != 0 || n.repairer.acting != 0 || n.atOnce != 0 {
			t.Errorf("left: %d records, %d queued, %d acting", len(n.repairer.records), len(n.repairer.queue), n.repairer.acting)
		}
		if !slices.ContainsFunc(n.events, func(h events.Happening) bool { return h.Reason == ReasonRepaired }) {
			t.Error("nothing was repaired: the test tests nothing")
		}
	})
}
