// SPDX-License-Identifier: Apache-2.0

//go:build netns

package repair

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shuntmesh/shunt/cni/agent/kube"
	"github.com/shuntmesh/shunt/cni/agent/podns"
	"github.com/shuntmesh/shunt/cni/agent/podtest"
	"github.com/shuntmesh/shunt/internal/events"
	"github.com/shuntmesh/shunt/internal/figure"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/netns"
)

func uid(n int) string { return fmt.Sprintf("20000000-0000-4000-8000-%012d", n) }

// listed is a fixed list of pods.
type listed struct {
	pods    []kube.Pod
	changed chan struct{}
}

func (l listed) Each(f func(kube.Pod)) {
	for _, p := range l.pods {
		f(p)
	}
}
func (l listed) Changed() <-chan struct{} { return l.changed }
func (l listed) Ready() error             { return nil }

// real is a repairer at work on this machine.
type real struct {
	*Repairer
	t    *testing.T
	mu   sync.Mutex
	told []events.Happening
}

func newReal(t *testing.T, backend string, pods ...kube.Pod) *real {
	t.Helper()
	finder, err := podns.New("/proc")
	if err != nil {
		t.Fatal(err)
	}
	r := &real{t: t}
	r.Repairer = New(Options{
		Pods: listed{pods: pods}, Namespaces: finder, Backends: backends.All(), Backend: backend,
		Record:  func(h events.Happening) { r.mu.Lock(); defer r.mu.Unlock(); r.told = append(r.told, h) },
		Metrics: NewMetrics(), Log: slog.New(slog.DiscardHandler),
	})
	return r
}

// start runs it, and returns what stops it.
func (r *real) start() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	}
}

func (r *real) events() []events.Happening {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]events.Happening(nil), r.told...)
}

func injected(n int) kube.Pod {
	return kube.Pod{UID: uid(n), Namespace: "shop", Name: fmt.Sprint("web-", n), Status: status, Created: time.Now()}
}

// checkIn returns what the rules in a pod's namespace lack.
func checkIn(t *testing.T, p *podtest.Pod, backend string) error {
	t.Helper()
	w, err := read(injected(0))
	if err != nil {
		t.Fatal(err)
	}
	c, err := backends.Choose(backend, backends.All())
	if err != nil {
		t.Fatal(err)
	}
	return netns.In(p.Net(), func() error { return c.Check(t.Context(), w.plan) })
}

// within waits for something to hold.
func within(t *testing.T, d time.Duration, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}

// TestRepairInPlace has pods of every kind without rules, and some that must not
// be touched.
func TestRepairInPlace(t *testing.T) {
	for _, backend := range []string{"nftables", "iptables"} {
		t.Run(backend, func(t *testing.T) {
			ignore := goleak.IgnoreCurrent()
			kinds := []podtest.Kind{{}, {Systemd: true}, {UID: 65532}}
			if backend == "nftables" { // xt_owner wants its writer in the user namespace itself
				kinds = append(kinds, podtest.Kind{UserNS: true})
			}
			var pods []kube.Pod
			var processes []*podtest.Pod
			for i, kind := range kinds {
				pods = append(pods, injected(i))
				processes = append(processes, podtest.Start(t, uid(i), kind))
			}
			plain, byInit := injected(10), injected(11)
			plain.Status, byInit.Status = "", `{"interception":"init","redirect":["-p","15001"]}`
			untouched := []*podtest.Pod{podtest.Start(t, uid(10), podtest.Kind{}), podtest.Start(t, uid(11), podtest.Kind{}), podtest.Start(t, uid(12), podtest.Kind{})}
			host := podtest.Start(t, uid(13), podtest.Kind{Host: true})
			r := newReal(t, backend, append(pods, plain, byInit, injected(13))...)
			stop := r.start()
			within(t, 10*time.Second, "an Event for each", func() bool { return len(r.events()) >= len(kinds) })
			time.Sleep(time.Second) // for what should not happen
			stop()
			for i, p := range processes {
				if err := checkIn(t, p, backend); err != nil {
					t.Errorf("%+v: %v", kinds[i], err)
				}
			}
			for _, p := range append(untouched, host) {
				for _, b := range backends.All() {
					if err := netns.In(p.Net(), func() error { return holdsNothing(t, b) }); err != nil {
						t.Error(err)
					}
				}
			}
			if got := r.events(); len(got) != len(kinds) {
				t.Errorf("%d Events, want %d: %+v", len(got), len(kinds), got)
			}
			for _, h := range r.events() {
				if h.Reason != ReasonRepaired || !strings.Contains(h.Message, "by "+backend) || h.Object.UID == "" {
					t.Errorf("Event %+v", h)
				}
			}
			if removed, err := r.Remove(t.Context()); removed != len(kinds) || err != nil {
				t.Errorf("removed from %d pods, %v", removed, err)
			}
			for i, p := range processes {
				var d *redirect.Difference
				if err := checkIn(t, p, backend); !errors.As(err, &d) {
					t.Errorf("%+v after the removal: %v, want a difference", kinds[i], err)
				}
			}
			goleak.VerifyNone(t, ignore)
		})
	}
}

func holdsNothing(t *testing.T, b backends.Backend) error {
	holds, err := b.Holds(t.Context())
	if err == nil && holds {
		err = errors.New(b.Name + " holds something in a namespace that is not to be touched")
	}
	return err
}

// TestRightByAnotherBackend is a node whose agent prefers another than before.
func TestRightByAnotherBackend(t *testing.T) {
	p := podtest.Start(t, uid(0), podtest.Kind{})
	stop := newReal(t, "iptables", injected(0)).start()
	within(t, 5*time.Second, "rules", func() bool { return checkIn(t, p, "iptables") == nil })
	stop()
	r := newReal(t, "nftables", injected(0))
	stop = r.start()
	time.Sleep(2 * time.Second)
	stop()
	if err := checkIn(t, p, "iptables"); err != nil || len(r.events()) > 0 {
		t.Errorf("running pods were moved: %v, %+v", err, r.events())
	}
}

// TestMendedByTheBackendThatMadeIt is the same node, where rules of the backend
// from before are wrong.
func TestMendedByTheBackendThatMadeIt(t *testing.T) {
	p := podtest.Start(t, uid(0), podtest.Kind{})
	stop := newReal(t, "iptables", injected(0)).start()
	within(t, 5*time.Second, "rules", func() bool { return checkIn(t, p, "iptables") == nil })
	stop()
	if err := netns.In(p.Net(), func() error {
		return exec.Command("iptables", "-t", "nat", "-D", "OUTPUT", "1").Run()
	}); err != nil {
		t.Fatal(err)
	}
	r := newReal(t, "nftables", injected(0))
	defer r.start()()
	within(t, 5*time.Second, "an Event", func() bool { return len(r.events()) == 1 })
	if err := checkIn(t, p, "iptables"); err != nil || !strings.Contains(r.events()[0].Message, "by iptables") {
		t.Errorf("%v, %+v: the pod was moved", err, r.events())
	}
}

// TestRulesAreRestored that were right and were changed since.
func TestRulesAreRestored(t *testing.T) {
	p := podtest.Start(t, uid(0), podtest.Kind{})
	r := newReal(t, "nftables", injected(0))
	defer r.start()()
	within(t, 5*time.Second, "rules", func() bool { return checkIn(t, p, "nftables") == nil })
	if err := netns.In(p.Net(), func() error { return exec.Command("nft", "flush", "ruleset").Run() }); err != nil {
		t.Fatal(err)
	}
	within(t, youngPeriod+2*time.Second, "rules again", func() bool { return checkIn(t, p, "nftables") == nil })
}

// TestSandboxIsMadeAnew with the same UID, in another namespace.
func TestSandboxIsMadeAnew(t *testing.T) {
	first := podtest.Start(t, uid(0), podtest.Kind{})
	r := newReal(t, "nftables", injected(0))
	defer r.start()()
	within(t, 2*time.Second, "rules", func() bool { return checkIn(t, first, "nftables") == nil })
	first.Stop()
	second := podtest.Start(t, uid(0), podtest.Kind{})
	within(t, 2*time.Second, "rules of the second", func() bool { return checkIn(t, second, "nftables") == nil })
}

// TestFlagsThatNoBackendTakes is told of, and the pod stays as it was.
func TestFlagsThatNoBackendTakes(t *testing.T) {
	p := podtest.Start(t, uid(0), podtest.Kind{})
	pod := injected(0)
	pod.Status = strings.Replace(status, `"-p"`, `"--backend","ebpf","-p"`, 1)
	r := newReal(t, "nftables", pod)
	defer r.start()()
	within(t, 2*time.Second, "an Event", func() bool { return len(r.events()) > 0 })
	if h := r.events()[0]; h.Reason != ReasonFailed || !strings.Contains(h.Message, "ebpf") || !strings.Contains(h.Message, "allowed: ") {
		t.Errorf("Event %+v", h)
	}
	if err := checkIn(t, p, "nftables"); err == nil {
		t.Error("rules were applied all the same")
	}
}

// TestManyPods is the start of an agent on a node of pods without rules, and what
// looking at them costs afterwards.
func TestManyPods(t *testing.T) {
	const pods = 60
	list := make([]kube.Pod, pods)
	last := (*podtest.Pod)(nil)
	for i := range list {
		list[i] = injected(i)
		last = podtest.Start(t, uid(i), podtest.Kind{Systemd: i%2 == 0})
	}
	r := newReal(t, "nftables", list...)
	began := time.Now()
	stop := r.start()
	within(t, 60*time.Second, "all repaired", func() bool { return len(r.events()) == pods })
	figure.Publish(t, "cni.repair_pod_us", time.Since(began).Microseconds()/pods, "us")
	stop()
	if err := checkIn(t, last, "nftables"); err != nil {
		t.Error(err)
	}
	before := descriptors(t)
	began = time.Now()
	const looks = 50
	for range looks {
		r.look(time.Now())
	}
	figure.Publish(t, "cni.look_pod_us", fmt.Sprintf("%.2f", float64(time.Since(began).Nanoseconds())/1e3/looks/pods), "us")
	began = time.Now()
	for _, rec := range r.records {
		d, err := r.enter(t.Context(), rec.pod, rec.process)
		if err != nil || d.by != "" {
			t.Fatalf("check: %+v, %v", d, err)
		}
	}
	figure.Publish(t, "cni.check_pod_us", time.Since(began).Microseconds()/pods, "us")
	if removed, err := r.Remove(t.Context()); removed != pods || err != nil {
		t.Errorf("removed from %d, %v", removed, err)
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}
