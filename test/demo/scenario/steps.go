// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/shuntmesh/shunt/test/demo/tally"
)

func (s *stage) few(ctx context.Context) error {
	return s.evenWindow(ctx, fmt.Sprintf("%d servers", fewReplicas), fewReplicas)
}

// scaleUp adds servers while the client calls, and measures until each new one
// has its share.
func (s *stage) scaleUp(ctx context.Context) error {
	old, mark := s.endpoints.ready(), s.feed.mark()
	s.d.screen.begin(fmt.Sprintf("scaling from %d to %d servers", fewReplicas, manyReplicas), old)
	if err := s.scale(ctx, "server", manyReplicas); err != nil {
		return err
	}
	pods, err := s.endpoints.wait(ctx, manyReplicas)
	if err != nil {
		return err
	}
	ready := s.feed.clock(s.endpoints.readySince())
	lines, err := s.feed.wait(ctx, mark, func(lines []tally.Line) bool {
		_, all := worstTimeToBalance(lines, ready, old, pods)
		return all || len(lines) > 0 && lines[len(lines)-1].End.After(latest(ready).Add(balanceLimit))
	})
	if err != nil {
		return err
	}
	s.d.result.scaleUp, _ = worstTimeToBalance(lines, ready, old, pods)
	_, failed := tally.Failures(lines)
	s.d.screen.end(tally.Sum(lines), failed)
	s.d.screen.say("  the slowest new server had its share %.2f s after it was ready", s.d.result.scaleUp.Seconds())
	return s.evenWindow(ctx, fmt.Sprintf("%d servers", manyReplicas), manyReplicas)
}

// balanceLimit is when the demo stops waiting for a new server to get its share.
const balanceLimit = 20 * time.Second

// worstTimeToBalance returns the longest time of all new pods; all is false, and
// the time balanceLimit, when one of them has not got its share.
func worstTimeToBalance(lines []tally.Line, ready map[string]time.Time, old, pods []string) (worst time.Duration, all bool) {
	for _, pod := range pods {
		if slices.Contains(old, pod) {
			continue
		}
		d, ok := tally.TimeToBalance(lines, ready, pod)
		if !ok {
			return balanceLimit, false
		}
		worst = max(worst, d)
	}
	return worst, true
}

func latest(times map[string]time.Time) time.Time {
	var last time.Time
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// rollOut replaces every server while the client calls.
func (s *stage) rollOut(ctx context.Context) error {
	mark := s.feed.mark()
	s.d.screen.begin("rolling all servers", s.endpoints.ready())
	if err := s.restart(ctx, "server"); err != nil {
		return err
	}
	if err := s.waitRollout(ctx, "server"); err != nil {
		return err
	}
	lines, _ := s.feed.since(mark)
	_, failed := tally.Failures(lines)
	s.d.screen.end(tally.Sum(lines), failed)
	return s.evenWindow(ctx, fmt.Sprintf("%d servers, after the rollout", manyReplicas), manyReplicas)
}

// conclude counts what failed over the whole run, and weighs the proxy.
func (s *stage) conclude(ctx context.Context) error {
	lines, _ := s.feed.since(0)
	told, failed := tally.Failures(lines)
	s.d.result.failedCalls = failed
	s.d.screen.say("  the whole run: %d calls over %d connection, %d failed%s", tally.Sum(lines).Total(),
		lines[len(lines)-1].Connections, failed, firstFailures(told, 5))
	var err error
	s.d.result.memory, err = s.proxyMemory(ctx, "client")
	return err
}

// evenWindow measures one window, in which every pod has to get its share.
func (s *stage) evenWindow(ctx context.Context, title string, replicas int) error {
	pods, err := s.endpoints.wait(ctx, replicas)
	if err != nil {
		return err
	}
	counts, err := s.window(ctx, title, pods, func(c tally.Counts) bool {
		// A pod that starves would keep us here; twice the calls show it as well.
		return c.Reached(pods, s.d.WindowCalls) || c.Total() >= 2*s.d.WindowCalls*len(pods)
	})
	s.d.result.afterMaxOverFair = append(s.d.result.afterMaxOverFair, counts.MaxOverFair(replicas))
	return err
}

func (s *stage) window(ctx context.Context, title string, pods []string, enough func(tally.Counts) bool) (tally.Counts, error) {
	s.d.screen.begin(title, pods)
	lines, err := s.feed.wait(ctx, s.feed.mark(), func(lines []tally.Line) bool { return enough(tally.Sum(lines)) })
	if err != nil {
		return nil, err
	}
	counts := tally.Sum(lines)
	_, failed := tally.Failures(lines)
	s.d.screen.end(counts, failed)
	return counts, nil
}
