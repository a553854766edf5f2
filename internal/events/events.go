// SPDX-License-Identifier: Apache-2.0

// Package events tells of happenings in Events of Kubernetes, beside the work
// that they tell of: what is alike becomes one Event with a count, nothing waits
// for the API server, and what can't be written is counted.
package events

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
)

const (
	// queueLength is how many happenings wait to be written, 200 bytes each.
	queueLength = 512

	// flushPeriod is how often repetitions are written: as a count, so that a
	// Deployment of a thousand pods costs a few calls.
	flushPeriod = 5 * time.Second

	// callTimeout bounds one call of the API server.
	callTimeout = 10 * time.Second

	// lastWords is how long the recorder writes on after its context has ended.
	lastWords = 2 * time.Second
)

// Writer is what is asked of the API server about Events of one namespace.
type Writer interface {
	Create(ctx context.Context, e *corev1.Event, o metav1.CreateOptions) (*corev1.Event, error)
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, o metav1.PatchOptions, subresources ...string) (*corev1.Event, error)
}

// Happening is what an Event tells of an object.
type Happening struct {
	Object  corev1.ObjectReference
	Type    string // corev1.EventTypeNormal or EventTypeWarning
	Reason  string // one word
	Message string // the same for happenings that are to be counted as one
}

// Options is what a Recorder is made of. All fields but UID are needed.
type Options struct {
	Component string // who reports, such as shunt-webhook
	Metrics   string // what the names of the metrics begin with, such as shunt_webhook
	// Writer bounds its own rate: while it makes the recorder wait, the queue
	// fills.
	Writer func(namespace string) Writer
	// UID finds the uid of a pod that had none when it was recorded; "" is none.
	UID func(context.Context, corev1.ObjectReference) types.UID
	Log *slog.Logger
}

// Recorder writes Events. Record may be called from anywhere.
type Recorder struct {
	options Options
	queue   chan Happening
	written prometheus.Counter
	lost    *prometheus.CounterVec
}

// New returns a recorder; Run writes.
func New(o Options) *Recorder {
	r := &Recorder{
		options: o, queue: make(chan Happening, queueLength),
		written: prometheus.NewCounter(prometheus.CounterOpts{
			Name: o.Metrics + "_events_written_total", Help: "Calls that created an Event or raised its count.",
		}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: o.Metrics + "_events_lost_total", Help: "Happenings that no Event tells of: the queue was full, or the API server did not take it.",
		}, []string{"why"}),
	}
	r.lost.WithLabelValues(lostToQueue)
	r.lost.WithLabelValues(lostToError)
	return r
}

const (
	lostToQueue = "queue-full"
	lostToError = "api-error"
)

// Collectors are the metrics.
func (r *Recorder) Collectors() []prometheus.Collector {
	return []prometheus.Collector{r.written, r.lost}
}

// Record takes a happening to be written. It never blocks.
func (r *Recorder) Record(h Happening) {
	select {
	case r.queue <- h:
	default:
		r.lost.WithLabelValues(lostToQueue).Inc()
	}
}

// Run writes until ctx ends, and what is left for at most lastWords more.
func (r *Recorder) Run(ctx context.Context) error {
	book := newBook()
	tick := time.NewTicker(flushPeriod)
	defer tick.Stop()
	for {
		select {
		case h := <-r.queue:
			r.note(ctx, book, h)
		case now := <-tick.C:
			r.flush(ctx, book)
			book.forget(now)
		case <-ctx.Done():
			r.finish(context.WithoutCancel(ctx), book)
			return nil
		}
	}
}

func (r *Recorder) finish(ctx context.Context, book *book) {
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	for len(r.queue) > 0 {
		r.note(ctx, book, <-r.queue)
	}
	r.flush(ctx, book)
}

// note writes the first of its kind at once, and counts the others. Of a pod that
// has no uid yet it is written with the next flush.
func (r *Recorder) note(ctx context.Context, book *book, h Happening) {
	entry, first := book.note(h, time.Now())
	if first && (!r.unborn(h.Object) || book.entries[h] == nil) {
		r.create(ctx, entry)
	}
}

func (r *Recorder) flush(ctx context.Context, book *book) {
	for _, entry := range book.unwritten() {
		if entry.name == "" {
			r.create(ctx, entry)
		} else {
			r.raise(ctx, entry)
		}
	}
}

func (r *Recorder) create(ctx context.Context, e *entry) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	object := e.happening.Object
	if r.unborn(object) {
		object.UID = r.options.UID(ctx, object)
	}
	count := e.count
	event, err := r.options.Writer(object.Namespace).Create(ctx, &corev1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: object.Namespace, Name: eventName(object.Name)},
		InvolvedObject:      object,
		Type:                e.happening.Type,
		Reason:              e.happening.Reason,
		Message:             e.happening.Message,
		Source:              corev1.EventSource{Component: r.options.Component},
		ReportingController: r.options.Component,
		FirstTimestamp:      metav1.NewTime(e.first),
		LastTimestamp:       metav1.NewTime(e.last),
		Count:               count,
	}, metav1.CreateOptions{})
	if err != nil {
		r.lose(e, err)
		return
	}
	e.name, e.written = event.Name, count
	r.written.Inc()
}

// unborn tells a pod as its review knows it, whose uid can be found later: the API
// server gives it one only when it stores it. Without, "kubectl describe" does not
// show its Event; "kubectl get events" does.
func (r *Recorder) unborn(object corev1.ObjectReference) bool {
	return r.options.UID != nil && object.Kind == "Pod" && object.UID == ""
}

// raise writes the count. An Event that has expired meanwhile is made anew.
func (r *Recorder) raise(ctx context.Context, e *entry) {
	patchCtx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	count := e.count
	patch := fmt.Appendf(nil, `{"count":%d,"lastTimestamp":%q}`, count, e.last.UTC().Format(time.RFC3339))
	_, err := r.options.Writer(e.happening.Object.Namespace).Patch(patchCtx, e.name, types.MergePatchType, patch, metav1.PatchOptions{})
	switch {
	case apierrors.IsNotFound(err):
		e.name = ""
		r.create(ctx, e)
	case err != nil:
		r.lose(e, err)
	default:
		e.written = count
		r.written.Inc()
	}
}

// lose counts what was not told. It is not tried again: an Event is a hint, and
// must not become load on an API server in trouble.
func (r *Recorder) lose(e *entry, err error) {
	r.lost.WithLabelValues(lostToError).Add(float64(e.count - e.written))
	e.written = e.count
	r.options.Log.Warn("write Event", "err", err, "namespace", e.happening.Object.Namespace, "object", e.happening.Object.Name, "reason", e.happening.Reason)
}

// eventName is unlike any other replica's. An object's name may be as long as
// an Event's own.
func eventName(object string) string {
	const limit, suffix = 253, 10
	return object[:min(len(object), limit-suffix-1)] + "." + rand.String(suffix)
}
