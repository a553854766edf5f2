// SPDX-License-Identifier: Apache-2.0

// Package task is for what a process does until a context ends: its parts run
// beside each other, and each sleeps and tries again.
package task

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// Join runs the parts until ctx ends or one of them fails, which ends the
// others, and returns all their errors.
func Join(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(parts))
	var running sync.WaitGroup
	for i, part := range parts {
		running.Go(func() {
			if errs[i] = part(ctx); errs[i] != nil {
				cancel()
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// Sleep reports whether d has passed before ctx ended.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Backoff says how long to wait after each failure: Min at first, and then twice
// as long each time, up to Max.
type Backoff struct {
	Min, Max time.Duration
	last     time.Duration
}

// Next returns a duration between half of that and one and a half, so that those
// who failed at one moment do not come back at one.
func (b *Backoff) Next() time.Duration {
	b.last = min(max(2*b.last, b.Min), b.Max)
	return b.last/2 + rand.N(b.last)
}

// Reset begins anew, after a success.
func (b *Backoff) Reset() { b.last = 0 }
