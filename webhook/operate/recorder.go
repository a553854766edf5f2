// SPDX-License-Identifier: Apache-2.0

package operate

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/shuntmesh/shunt/internal/contract"
)

const (
	// queueLength is how many happenings wait to be written, 200 bytes each.
	queueLength = 512

	// flushPeriod is how often repetitions are written: as a count, so that a
	// Deployment of a thousand pods costs a few calls.
	flushPeriod = 5 * time.Second

	// lastWords is how long the recorder writes on after its context has ended.
	lastWords = 2 * time.Second
)

// EventWriter is what is asked of the API server about Events of one namespace.
type EventWriter interface {
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

// Recorder writes Events beside the work that they tell of: nothing waits for
// it. What it can't write is counted.
type Recorder struct {
	writer  func(namespace string) EventWriter
	pods    func(namespace string) PodLister
	log     *slog.Logger
	queue   chan Happening
	written prometheus.Counter
	lost    *prometheus.CounterVec
}

// NewRecorder returns a recorder; Run writes. The writer bounds its own rate:
// while it makes the recorder wait, the queue fills. pods is asked for the uid of
// a pod that had none yet when it was reviewed.
func NewRecorder(writer func(namespace string) EventWriter, pods func(namespace string) PodLister, log *slog.Logger) *Recorder {
	r := &Recorder{
		writer: writer, pods: pods, log: log, queue: make(chan Happening, queueLength),
		written: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shunt_webhook_events_written_total", Help: "Calls that created an Event or raised its count.",
		}),
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shunt_webhook_events_lost_total", Help: "Happenings that no Event tells of: the queue was full, or the API server did not take it.",
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
	if first && (!unborn(h.Object) || book.entries[h] == nil) {
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
	if unborn(object) {
		object.UID = r.uid(ctx, object)
	}
	count := e.count
	event, err := r.writer(object.Namespace).Create(ctx, &corev1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: object.Namespace, Name: eventName(object.Name)},
		InvolvedObject:      object,
		Type:                e.happening.Type,
		Reason:              e.happening.Reason,
		Message:             e.happening.Message,
		Source:              corev1.EventSource{Component: contract.WebhookService},
		ReportingController: contract.WebhookService,
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

// unborn tells a pod as its review knows it: the API server gives it its uid only
// when it stores it.
func unborn(object corev1.ObjectReference) bool { return object.Kind == "Pod" && object.UID == "" }

// uid is that of a pod by now, without which "kubectl describe" does not show its
// Event; "kubectl get events" does. There is none when the pod was refused by
// somebody else, or has gone.
func (r *Recorder) uid(ctx context.Context, pod corev1.ObjectReference) types.UID {
	found, err := r.pods(pod.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, pod.Name).String(), Limit: 1,
	})
	switch {
	case err != nil:
		r.log.Warn("read uid of pod for its Event", "err", err, "namespace", pod.Namespace, "pod", pod.Name)
		return ""
	case len(found.Items) == 0:
		return ""
	default:
		return found.Items[0].UID
	}
}

// raise writes the count. An Event that has expired meanwhile is made anew.
func (r *Recorder) raise(ctx context.Context, e *entry) {
	patchCtx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	count := e.count
	patch := fmt.Appendf(nil, `{"count":%d,"lastTimestamp":%q}`, count, e.last.UTC().Format(time.RFC3339))
	_, err := r.writer(e.happening.Object.Namespace).Patch(patchCtx, e.name, types.MergePatchType, patch, metav1.PatchOptions{})
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
	r.log.Warn("write Event", "err", err, "namespace", e.happening.Object.Namespace, "object", e.happening.Object.Name, "reason", e.happening.Reason)
}

// eventName is unlike any other replica's. An object's name may be as long as
// an Event's own.
func eventName(object string) string {
	const limit, suffix = 253, 10
	return object[:min(len(object), limit-suffix-1)] + "." + rand.String(suffix)
}
