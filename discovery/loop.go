// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/shuntmesh/shunt/discovery/kube"
	"github.com/shuntmesh/shunt/discovery/model"
	"github.com/shuntmesh/shunt/discovery/xds"
)

// settle is how long the first event of a batch waits for others. A rolling
// update of one service comes as many slice events within milliseconds.
const settle = 10 * time.Millisecond

// loop takes facts from the informers and hands batches of changes to the
// store. What waits is bounded by the number of objects in the cluster.
type loop struct {
	store *xds.Store
	log   *slog.Logger
	wake  chan struct{} // holds one token when there is something to do

	mu      sync.Mutex
	builder *model.Builder
	since   time.Time // of the first fact that was not flushed
}

var _ kube.Sink = (*loop)(nil)

func newLoop(store *xds.Store, log *slog.Logger) *loop {
	return &loop{store: store, log: log, wake: make(chan struct{}, 1), builder: model.NewBuilder()}
}

// SetService implements kube.Sink.
func (l *loop) SetService(s *model.Service) { l.take(func(b *model.Builder) { b.SetService(s) }) }

// DeleteService implements kube.Sink.
func (l *loop) DeleteService(k model.Key) { l.take(func(b *model.Builder) { b.DeleteService(k) }) }

// SetSlice implements kube.Sink.
func (l *loop) SetSlice(s *model.Slice) { l.take(func(b *model.Builder) { b.SetSlice(s) }) }

// DeleteSlice implements kube.Sink.
func (l *loop) DeleteSlice(k model.Key) { l.take(func(b *model.Builder) { b.DeleteSlice(k) }) }

func (l *loop) take(fact func(*model.Builder)) {
	l.mu.Lock()
	fact(l.builder)
	if l.since.IsZero() {
		l.since = time.Now()
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run flushes until ctx ends. Nothing happens before synced is closed, and
// ready is called once all that was there at the start is in the store.
func (l *loop) run(ctx context.Context, synced <-chan struct{}, ready func()) error {
	select {
	case <-ctx.Done():
		return nil
	case <-synced:
	}
	l.mu.Lock()
	l.since = time.Time{} // the start is no event that was late
	l.mu.Unlock()
	l.flush()
	ready()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(settle):
		}
		l.flush()
	}
}

func (l *loop) flush() {
	l.mu.Lock()
	changes, since := l.builder.Flush(), l.since
	l.since = time.Time{}
	l.mu.Unlock()
	if changes.Empty() {
		return
	}
	update, err := xds.Resources(changes)
	if err != nil {
		// One name that can't be encoded must not keep the others back.
		l.log.Error("build resources", "err", err)
	}
	update.Since = since
	l.store.Apply(update)
}
