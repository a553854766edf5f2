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

// exitAtOnce rolls servers that do not stop gracefully: calls in flight can't be
// saved by anyone, all others have to be.
func (d *demo) exitAtOnce(ctx context.Context) error {
	const server = "server-exit"
	c := d.cluster(afterNamespace)
	d.screen.say("With the mesh, and servers that exit at once on SIGTERM")
	if err := c.scale(ctx, "server", 0); err != nil {
		return err
	}
	if err := c.startServers(ctx, server, d.Image, fewReplicas, "--exit-at-once"); err != nil {
		return err
	}
	return d.withClient(ctx, c, "client", server, func(ctx context.Context, s *stage) error {
		var wg sync.WaitGroup
		defer wg.Wait()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		seen := &exits{}
		wg.Go(func() { seen.watch(ctx, c, server) })
		return s.rollExiting(ctx, server, seen)
	})
}

func (s *stage) rollExiting(ctx context.Context, server string, seen *exits) error {
	pods, err := s.endpoints.wait(ctx, fewReplicas)
	if err != nil {
		return err
	}
	s.d.screen.begin("rolling all servers", pods)
	some := func(lines []tally.Line) bool { return len(lines) >= 20 }
	if _, err := s.feed.wait(ctx, 0, some); err != nil {
		return err
	}
	if err := s.restart(ctx, server); err != nil {
		return err
	}
	if err := s.waitRollout(ctx, server); err != nil {
		return err
	}
	exited, err := seen.wait(ctx, fewReplicas)
	if err != nil {
		return err
	}
	if _, err := s.feed.wait(ctx, s.feed.mark(), some); err != nil {
		return err
	}
	lines, _ := s.feed.since(0)
	told, failed := tally.Failures(lines)
	inFlight, other := tally.Explain(told, exited, s.d.Callers)
	s.d.result.exitInFlight, s.d.result.exitOther = inFlight, other+failed-len(told)
	s.d.screen.end(tally.Sum(lines), failed)
	if s.d.result.exitOther > 0 {
		s.d.screen.say("  %d calls failed that were not in flight at an exit; the first failures:%s", s.d.result.exitOther, firstFailures(told, 5))
	}
	return nil
}
