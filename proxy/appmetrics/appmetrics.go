// SPDX-License-Identifier: Apache-2.0

// Package appmetrics serves the metrics of the proxy and of the application in
// one answer, for scrapers that know one port of a pod. The application is asked
// over loopback, within limits; whatever it answers, or doesn't, the proxy's own
// are there. docs/adr/0007-metrics.md says why this is asked for and not given.
package appmetrics

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/shuntmesh/shunt/internal/contract"
)

// Options of a Handler. All fields are needed but App.
type Options struct {
	App      contract.Scrape // where the application has its metrics; none: the proxy's alone
	Timeout  time.Duration   // of one question to the application
	MaxBytes int             // of one answer of it
	Own      func(io.Writer) // writes the proxy's metrics, each named shunt_proxy_*
	Asked    func(Result)    // is told of each question's end
	Log      *slog.Logger
}

// maxWaiting bounds the scrapes that wait for the one that is served: a pod has
// one or two scrapers.
const maxWaiting = 8

// headerTimeout is how long a scraper waits, in seconds (Prometheus sets it).
const headerTimeout = "X-Prometheus-Scrape-Timeout-Seconds"

// Handler serves scrapes, one at a time, so that one answer of the application
// is held in memory at most.
type Handler struct {
	options Options
	fetcher *fetcher
	turn    chan struct{}
	waiting atomic.Int64
	last    atomic.Value // Result
}

// New returns a Handler.
func New(o Options) *Handler {
	h := &Handler{options: o, fetcher: newFetcher(o.App, o.MaxBytes), turn: make(chan struct{}, 1)}
	h.last.Store(OK)
	return h
}

// Up is 1 when the application's metrics were in the last answer, else 0. The
// scraper's own "up" tells of the proxy alone.
func (h *Handler) Up() float64 {
	if h.last.Load() == OK {
		return 1
	}
	return 0
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer h.waiting.Add(-1)
	if h.waiting.Add(1) > maxWaiting {
		http.Error(w, "too many scrapes at once", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.timeout(r))
	defer cancel()
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		http.Error(w, "another scrape takes too long", http.StatusServiceUnavailable)
		return
	}
	content, how := h.ask(ctx, takesOpenMetrics(r.Header.Values("Accept")))
	var own bytes.Buffer
	h.options.Own(&own) // after the question, of which it tells
	w.Header().Set("Content-Type", how.contentType())
	for _, part := range [][]byte{own.Bytes(), content, []byte(how.end())} {
		if _, err := w.Write(part); err != nil {
			return // the scraper has gone
		}
	}
}

// timeout leaves a tenth of the scraper's time for the answer.
func (h *Handler) timeout(r *http.Request) time.Duration {
	seconds, err := strconv.ParseFloat(r.Header.Get(headerTimeout), 64)
	if err != nil || math.IsNaN(seconds) || seconds <= 0 || seconds > h.options.Timeout.Seconds() {
		return h.options.Timeout
	}
	return min(h.options.Timeout, time.Duration(0.9*seconds*float64(time.Second)))
}

// ask returns what the application says, or nothing in the older format.
func (h *Handler) ask(ctx context.Context, open bool) ([]byte, format) {
	if h.options.App.Port == 0 {
		return nil, plain
	}
	content, how, err := h.fetcher.fetch(ctx, open)
	result := resultOf(err)
	if errors.Is(err, context.Canceled) {
		return nil, plain // the scraper has gone
	}
	h.options.Asked(result)
	switch before := h.last.Swap(result); {
	case result == before:
	case err != nil:
		h.options.Log.Warn("the application's metrics are left out", "at", h.options.App.String(), "result", string(result), "error", err)
	default:
		h.options.Log.Info("the application's metrics are back", "at", h.options.App.String())
	}
	return content, how
}
