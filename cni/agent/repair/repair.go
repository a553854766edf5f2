// SPDX-License-Identifier: Apache-2.0

// Package repair finds pods of the node that should be captured by it and are
// not, since they were started while the plugin was not there, and captures them
// where they are. Their validator keeps the application from starting meanwhile.
//
// One goroutine owns what is known and decides; a few others act.
package repair

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/shuntmesh/shunt/cni/agent/kube"
	"github.com/shuntmesh/shunt/cni/agent/podns"
	"github.com/shuntmesh/shunt/internal/events"
	"github.com/shuntmesh/shunt/redirect/backends"
)

const (
	// lookPeriod is how often all pods are looked at: a pod without rules is to be
	// found within 2 s of its sandbox.
	lookPeriod = 500 * time.Millisecond

	// maxAtOnce bounds how many pods are acted on at a time.
	maxAtOnce = 4
)

// The reasons of the Events.
const (
	ReasonRepaired = "CaptureRepaired"
	ReasonFailed   = "CaptureFailed"
)

// Pods are the pods of the node.
type Pods interface {
	Each(func(kube.Pod)) // f must not call back
	Changed() <-chan struct{}
	Ready() error // nil once they are all known
}

// Namespaces finds the pods' network namespaces. Open may be called by several
// at a time.
type Namespaces interface {
	Find(wanted func(uid string) bool) (map[string]podns.Process, error)
	Holds(p podns.Process) bool
	Open(uid string, p podns.Process) (*os.File, error)
}

// Options is what a Repairer is made of. All fields are needed.
type Options struct {
	Pods       Pods
	Namespaces Namespaces
	Backends   []backends.Backend
	Backend    string // the node's, by name
	Record     func(events.Happening)
	Metrics    *Metrics
	Log        *slog.Logger
}

// Repairer keeps the pods of a node captured.
type Repairer struct {
	options Options
	act     func(ctx context.Context, pod kube.Pod, p podns.Process) (deed, error)

	// Of the goroutine in Run alone.
	records  map[string]*record // by UID
	searched time.Time          // when all processes were last read
	acting   int
	queue    []*record // due, in order
	done     chan outcome
}

// outcome is what has become of an action.
type outcome struct {
	rec  *record
	deed deed
	err  error
}

// New returns a Repairer; Run works.
func New(o Options) *Repairer {
	r := &Repairer{options: o, records: map[string]*record{}, done: make(chan outcome, maxAtOnce)}
	r.act = r.enter
	return r
}

// Run works until ctx ends. Errors are told of and tried again.
func (r *Repairer) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	tick := time.NewTicker(lookPeriod)
	defer tick.Stop()
	r.take(time.Now())
	r.look(time.Now())
	for {
		r.start(ctx, &running)
		select {
		case <-ctx.Done():
			return nil
		case <-r.options.Pods.Changed():
			r.take(time.Now())
		case <-tick.C:
			r.look(time.Now())
		case o := <-r.done:
			r.acting--
			r.settle(o, time.Now())
		}
	}
}

// take brings the records in line with the pods.
func (r *Repairer) take(now time.Time) {
	present := map[string]bool{}
	var hopeless []*record
	r.options.Pods.Each(func(p kube.Pod) {
		if old, known := r.records[p.UID]; known && old.pod.Status == p.Status {
			present[p.UID] = true
			return
		}
		ours, err := mine(p)
		if !ours {
			return // a record of it goes below
		}
		present[p.UID] = true
		rec := &record{pod: p, seen: now, hopeless: err}
		r.records[p.UID] = rec
		if err != nil {
			hopeless = append(hopeless, rec)
		}
	})
	for uid := range r.records {
		if !present[uid] {
			delete(r.records, uid)
		}
	}
	for _, rec := range hopeless {
		r.fail(rec.pod, failurePlan, rec.hopeless)
	}
}

// look decides about every pod, and queues what is due.
func (r *Repairer) look(now time.Time) {
	began := time.Now()
	due := false
	for _, rec := range r.records {
		if decide(*rec, r.holds(rec), now) != search {
			continue
		}
		if rec.process != (podns.Process{}) { // it had one
			*rec = record{pod: rec.pod, seen: now}
		}
		due = due || searchDue(*rec, r.searched, now)
	}
	if due {
		r.search(now)
	}
	r.queue = r.queue[:0]
	searching := 0
	for _, rec := range r.records {
		switch {
		case rec.process == podns.Process{} && rec.hopeless == nil:
			searching++
		case decide(*rec, true, now) == check:
			r.queue = append(r.queue, rec)
		}
	}
	slices.SortFunc(r.queue, order)
	r.options.Metrics.looked(time.Since(began), len(r.records), searching)
}

func (r *Repairer) holds(rec *record) bool {
	return rec.process != podns.Process{} && r.options.Namespaces.Holds(rec.process)
}

// search finds the namespaces of all pods that have none, in one go.
func (r *Repairer) search(now time.Time) {
	r.searched = now
	found, err := r.options.Namespaces.Find(func(uid string) bool {
		rec, known := r.records[uid]
		return known && rec.process == podns.Process{} && rec.hopeless == nil
	})
	if err != nil {
		r.options.Log.Warn("look for the namespaces of pods", "err", err)
	}
	for uid, process := range found {
		rec := r.records[uid]
		rec.process, rec.found = process, now
	}
}

// start lets as many as may act on what is queued.
func (r *Repairer) start(ctx context.Context, running *sync.WaitGroup) {
	for r.acting < maxAtOnce && len(r.queue) > 0 && ctx.Err() == nil {
		rec := r.queue[0]
		r.queue = r.queue[1:]
		if r.records[rec.pod.UID] != rec {
			continue // it went while it was waiting
		}
		rec.busy = true
		r.acting++
		pod, process := rec.pod, rec.process
		running.Go(func() {
			d, err := r.act(ctx, pod, process)
			r.done <- outcome{rec: rec, deed: d, err: err} // it has room for all
		})
	}
}

// enter makes one pod right.
func (r *Repairer) enter(ctx context.Context, pod kube.Pod, p podns.Process) (deed, error) {
	w, err := read(pod)
	if err != nil {
		return deed{}, &failure{failurePlan, err}
	}
	ns, err := r.options.Namespaces.Open(pod.UID, p)
	if err != nil {
		return deed{}, &failure{failureNamespace, err}
	}
	defer ns.Close()
	d, err := put(ctx, ns, w, r.options.Backend, r.options.Backends)
	if err != nil {
		return d, &failure{failureRules, err}
	}
	return d, nil
}

// settle takes what has become of an action into the records.
func (r *Repairer) settle(o outcome, now time.Time) {
	rec := o.rec
	rec.busy = false
	if r.records[rec.pod.UID] != rec {
		return // it went meanwhile, or is another since its annotation was changed
	}
	switch {
	case o.err == nil:
		rec.checked, rec.failed = now, 0
		if o.deed.by != "" {
			r.repaired(rec.pod, o.deed)
		}
	case errors.Is(o.err, podns.ErrGone):
		*rec = record{pod: rec.pod, seen: now}
	case errors.Is(o.err, context.Canceled):
	default:
		rec.failed++
		rec.retry = now.Add(pause(rec.failed))
		r.fail(rec.pod, reasonOf(o.err), o.err)
	}
}

// repaired tells of a repair.
func (r *Repairer) repaired(p kube.Pod, d deed) {
	why := "they could not be read back"
	if d.diff != nil {
		why = d.diff.Error()
	}
	r.options.Metrics.repairs.WithLabelValues("repaired").Inc()
	r.options.Log.Warn("repaired a pod that was not captured as planned", "namespace", p.Namespace, "pod", p.Name, "uid", p.UID, "backend", d.by, "difference", why)
	for _, left := range d.left {
		r.options.Log.Warn("repair pod", "namespace", p.Namespace, "pod", p.Name, "err", left)
	}
	r.tell(p, corev1.EventTypeNormal, ReasonRepaired,
		fmt.Sprintf("the pod's traffic was not captured as planned (%s); the node's agent has applied the rules by %s", why, d.by))
}

func (r *Repairer) fail(p kube.Pod, why string, err error) {
	r.options.Metrics.repairs.WithLabelValues("failed").Inc()
	r.options.Metrics.failures.WithLabelValues(why).Inc()
	r.options.Log.Error("repair pod", "namespace", p.Namespace, "pod", p.Name, "uid", p.UID, "reason", why, "err", err)
	r.tell(p, corev1.EventTypeWarning, ReasonFailed, fmt.Sprintf("the pod's traffic can't be captured: %v", err))
}

func (r *Repairer) tell(p kube.Pod, kind, reason, message string) {
	r.options.Record(events.Happening{
		Object: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: types.UID(p.UID)},
		Type:   kind, Reason: reason, Message: message[:min(len(message), maxMessage)],
	})
}

// maxMessage is what an Event takes (k8s.io/api validation: 1 KiB).
const maxMessage = 1024
