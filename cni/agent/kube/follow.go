// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/shuntmesh/shunt/internal/task"
)

const (
	minPause = 250 * time.Millisecond // after the first error in a row
	maxPause = 4 * time.Second        // after many: pods may be waiting for what we don't know of

	// resync does nothing, once a day: without it a reflector waits on a channel of
	// its package's, and synctest takes that for work that is going on.
	resync = 24 * time.Hour
)

// follow keeps a store like the objects that the selector chooses, until ctx
// ends. A reflector's own loop would wait up to a minute after the API server
// has come back; this one waits for at most 1.5 x maxPause, jittered, since all
// nodes come back at once.
func follow(ctx context.Context, name string, reader Reader, selector fields.Selector, store cache.ReflectorStore, log *slog.Logger) {
	reflector := cache.NewReflectorWithOptions(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = selector.String()
			return reader.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = selector.String()
			w, err := reader.Watch(ctx, o)
			return w, ended(err)
		},
	}, &metav1.PartialObjectMetadata{}, store, cache.ReflectorOptions{Name: name, TypeDescription: name, ResyncPeriod: resync})
	// The reflector logs by the logger of its context.
	ctx = logr.NewContext(ctx, logr.FromSlogHandler(log.Handler()))
	retry := task.Backoff{Min: minPause, Max: maxPause}
	for ctx.Err() == nil {
		start := time.Now()
		err := reflector.ListAndWatchWithContext(ctx)
		if time.Since(start) > maxPause {
			retry.Reset() // it has worked for a while
		}
		pause := retry.Next()
		if err != nil && ctx.Err() == nil {
			log.Warn("watch "+name, "err", err, "pause", pause.String())
		}
		task.Sleep(ctx, pause)
	}
}

// ended hides that a connection was refused: the reflector would try again by
// itself, at its own pace.
func ended(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("watch: %v", err) //nolint:errorlint // what it wraps is what is hidden
	}
	return err
}
