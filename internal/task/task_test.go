// SPDX-License-Identifier: Apache-2.0

package task_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shuntmesh/shunt/internal/task"
)

func TestJoin(t *testing.T) {
	broken := errors.New("broken")
	last := errors.New("last words")
	untilTheEnd := func(ctx context.Context) error {
		<-ctx.Done()
		return last
	}
	err := task.Join(t.Context(), untilTheEnd, func(context.Context) error { return broken })
	if !errors.Is(err, broken) || !errors.Is(err, last) {
		t.Errorf("%v, want the errors of both parts", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	quiet := func(context.Context) error { cancel(); return nil }
	if err := task.Join(ctx, quiet, func(ctx context.Context) error { <-ctx.Done(); return nil }); err != nil {
		t.Errorf("%v, want none", err)
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if !task.Sleep(ctx, 40*time.Second) || time.Since(start) != 40*time.Second {
			t.Errorf("slept %v, want 40 s", time.Since(start))
		}
		if task.Sleep(ctx, 40*time.Second) || time.Since(start) != time.Minute {
			t.Errorf("it is %v later, want the end after a minute", time.Since(start))
		}
	})
}

func TestBackoff(t *testing.T) {
	b := task.Backoff{Min: time.Second, Max: 5 * time.Second}
	for i, about := range []time.Duration{1, 2, 4, 5, 5, 1, 2} {
		about *= time.Second
		if i == 5 {
			b.Reset()
		}
		if got := b.Next(); got < about/2 || got >= about*3/2 {
			t.Errorf("pause %d: %v, want about %v", i, got, about)
		}
	}
}
