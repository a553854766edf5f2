// SPDX-License-Identifier: Apache-2.0

package services

import (
	"context"
	"time"

	"github.com/shuntmesh/shunt/internal/task"
)

const (
	// writeGap is the least time between two writes: the endpoints of a rolling
	// update change one by one, and each write costs some milliseconds.
	writeGap = 50 * time.Millisecond
	// minRetry and maxRetry bound the pause after a write that failed.
	minRetry = time.Second
	maxRetry = 30 * time.Second
)

// write hands each whole table to the kernel until ctx ends, the newest first.
func (f *Feed) write(ctx context.Context) {
	retry, lastErr := task.Backoff{Min: minRetry, Max: maxRetry}, ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.changed:
		}
		err := f.writeOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			retry.Reset()
			lastErr = ""
			task.Sleep(ctx, writeGap)
			continue
		}
		pause := retry.Next()
		if err.Error() != lastErr { // once, not every 30 s
			f.options.Log.Error("balance services at connect", "err", err, "pause", pause.String())
			lastErr = err.Error()
		}
		task.Sleep(ctx, pause)
		f.tell()
	}
}

// writeOnce writes what the table is by now.
func (f *Feed) writeOnce(ctx context.Context) error {
	f.mu.Lock()
	want, refused := f.table.services(), f.table.refused()
	f.mu.Unlock()
	done, err := f.options.Balancer.Balance(ctx, want)
	f.options.Metrics.wrote(sizeOf(want), refused, done, err, time.Now())
	if err != nil {
		return err
	}
	if done.Stayed > 0 {
		f.options.Log.Warn("end connections to endpoints that are gone: this kernel can't", "connections", done.Stayed)
	}
	f.options.Log.Debug("balance services at connect", "services", len(want), "changed", done.Changed, "destroyed", done.Destroyed)
	return nil
}

// tell lets the writer look.
func (f *Feed) tell() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}
