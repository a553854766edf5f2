// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/test/demo/tally"
)

// exits collects the last words of servers that exit at once. A pod's log is
// gone with the pod, so each is followed from its start.
type exits struct {
	mu  sync.Mutex
	all []tally.Exit
}

// watch follows the log of every pod of app until ctx is done.
func (e *exits) watch(ctx context.Context, c cluster, app string) {
	var wg sync.WaitGroup
	defer wg.Wait()
	followed := map[string]bool{}
	for {
		pods, err := c.pods(ctx, app) // an error is as good as no new pod: the next turn asks again
		for _, p := range pods {
			if err == nil && !followed[p.Name] && started(p) {
				followed[p.Name] = true
				wg.Go(func() { e.follow(ctx, c, p.Name) })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func started(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.Name == "server" && s.State.Running != nil
	})
}

func (e *exits) follow(ctx context.Context, c cluster, pod string) {
	// The log's end is the pod's; whether an exit is missing is checked by wait.
	_ = followLog(ctx, c, pod, "server", func(text []byte) error {
		if exit, ok := tally.ParseExit(text); ok {
			e.mu.Lock()
			e.all = append(e.all, exit)
			e.mu.Unlock()
		}
		return nil
	})
}

// wait returns the exits as soon as there are n: without all of them, calls in
// flight can't be told from others.
func (e *exits) wait(ctx context.Context, n int) ([]tally.Exit, error) {
	var all []tally.Exit
	err := poll(ctx, fmt.Sprintf("wait for the last words of %d servers", n), func() (bool, error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		all = slices.Clone(e.all)
		return len(all) >= n, nil
	})
	return all, err
}
