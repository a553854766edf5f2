// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook/inject"
)

// maxBody bounds a request, in bytes. The API server takes requests of at most
// 3 MiB (MaxRequestBodyBytes), and etcd stores objects of at most 1.5 MiB
// (--max-request-bytes), so a pod that could be stored fits at twice its size:
// JSON is some 1.5 times as long as etcd's encoding. The envelope around it is
// a few KiB. Only creations are registered, so there is no old object.
const maxBody = 4 << 20

// maxInFlight bounds the bodies that are held in memory at once: 8 x 4 MiB. At
// some 500 us each it is far from limiting anybody; others wait until the API
// server's timeout ends them.
const maxInFlight = 8

// maxDeciding bounds the bodies that are decided on at once, in bytes: one of
// the largest, or all of the usual 10 KiB. A body of tiny containers takes 15
// times its length as a pod, so that with the above the worst fits into the
// container's limit of 160 MiB: 133 MiB were
// measured.
const maxDeciding = maxBody

// handler carries reviews between HTTP and Review.
type handler struct {
	options Options
	metrics *metrics
	log     *slog.Logger
	slots   chan struct{}       // maxInFlight
	budget  *semaphore.Weighted // maxDeciding
	ending  <-chan struct{}     // closed when the shutdown begins
}

func newHandler(o Options, m *metrics, ending <-chan struct{}) *handler {
	return &handler{options: o, metrics: m, log: o.Log, slots: make(chan struct{}, maxInFlight), budget: semaphore.NewWeighted(maxDeciding), ending: ending}
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-r.Context().Done():
		return
	}
	h.moveOn(w)
	start := time.Now()
	body, status, err := readBody(w, r)
	if err != nil {
		h.fail(w, r, status, err)
		return
	}
	answer, err := h.review(r, body)
	if err != nil {
		h.fail(w, r, http.StatusBadRequest, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(answer.Body); err != nil {
		h.log.Warn("write answer", "err", err, "namespace", answer.Namespace, "pod", answer.Pod)
	}
	h.record(answer, time.Since(start))
}

func (h *handler) review(r *http.Request, body []byte) (Answer, error) {
	size := int64(len(body))
	if err := h.budget.Acquire(r.Context(), size); err != nil {
		return Answer{}, fmt.Errorf("wait for memory: %w", err)
	}
	defer h.budget.Release(size)
	return Review(body, h.options.Inject(), h.lookup(r))
}

// moveOn tells the API server, once the shutdown has begun, to take another
// connection for its next review. It keeps one for as long as it can, whatever
// becomes of the endpoints, and to close it under a review that is on its way
// would fail that one. In HTTP/2 this header becomes GOAWAY.
func (h *handler) moveOn(w http.ResponseWriter) {
	select {
	case <-h.ending:
		w.Header().Set("Connection", "close")
	default:
	}
}

// lookup adds to what the cache says of a namespace what the API server says
// by calling NamespacePath.
func (h *handler) lookup(r *http.Request) Lookup {
	return func(name string) (inject.Namespace, error) {
		ns, err := h.options.Namespace(r.Context(), name)
		if err == nil && r.URL.Path == NamespacePath {
			ns.Labels = maps.Clone(ns.Labels) // the cache's own
			if ns.Labels == nil {
				ns.Labels = map[string]string{}
			}
			ns.Labels[contract.LabelInject] = contract.InjectEnabled
		}
		return ns, err
	}
}

// readBody returns the body, or the status that says what is wrong with it.
func readBody(w http.ResponseWriter, r *http.Request) (body []byte, status int, err error) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, http.StatusMethodNotAllowed, fmt.Errorf("read request: method %s (allowed: POST)", r.Method)
	}
	kind := r.Header.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(kind); err != nil || media != "application/json" {
		return nil, http.StatusUnsupportedMediaType, fmt.Errorf("read request: content type %q (allowed: application/json)", kind)
	}
	body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return nil, http.StatusRequestEntityTooLarge, fmt.Errorf("read request: the body is larger than %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return nil, http.StatusBadRequest, fmt.Errorf("read request: %w", err)
	}
	if len(body) == 0 {
		return nil, http.StatusBadRequest, errors.New("read request: the body is empty")
	}
	return body, http.StatusOK, nil
}

func (h *handler) fail(w http.ResponseWriter, r *http.Request, status int, err error) {
	h.metrics.malformed.Inc()
	h.log.Warn("bad request", "err", err, "status", status, "remote", r.RemoteAddr)
	http.Error(w, shorten(err.Error()), status)
}

// record logs what a human asks for first: which pod, what, why. A dry run
// leaves no other trace: counters and Events say what happened in the cluster.
func (h *handler) record(a Answer, took time.Duration) {
	h.log.Info("reviewed", "verdict", a.Verdict, "reason", a.Reason, "namespace", a.Namespace, "pod", a.Pod,
		"why", a.Message, "dry_run", a.DryRun, "took", took.String())
	if a.DryRun {
		return
	}
	h.metrics.record(a, took)
	h.options.Reviewed(a)
}
