// SPDX-License-Identifier: Apache-2.0

// Package scenario runs the demo on a cluster that has Shunt: the same client
// and servers without the mesh and with it, through a scale-up, a rollout, and
// a rollout of servers that exit at once. It makes two namespaces, reads the
// client's log, and ends with figures; it changes nothing else.
package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/shuntmesh/shunt/test/demo/tally"
)

// Options say how to run.
type Options struct {
	Kube        kubernetes.Interface
	Image       string    // of the demo's client and server
	Callers     int       // calls in flight at most
	Rate        float64   // calls a second
	WindowCalls int       // calls per pod that a window has at least
	Cleanup     bool      // remove the namespaces at the end
	Out         io.Writer // table and figures
	Terminal    bool      // Out can be drawn over
	Started     time.Time // what demo.seconds_total counts from
}

// idleRate keeps the clients that are left up visible, and costs nothing.
const idleRate = 20

const (
	fewReplicas  = 3
	manyReplicas = 6
)

// demo is one run.
type demo struct {
	Options
	screen *screen
	result result
}

// Run plays the scenario, prints the figures and returns an error that names
// every goal that was missed.
func Run(ctx context.Context, o Options) error {
	d := &demo{Options: o, screen: &screen{out: o.Out, terminal: o.Terminal}}
	for _, part := range []func(context.Context) error{d.before, d.after, d.exitAtOnce, d.leave} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	d.result.total = time.Since(o.Started)
	figures := d.result.figures()
	printFigures(o.Out, figures)
	return checkGoals(figures)
}

// stage is a client that calls, and what is seen of it.
type stage struct {
	cluster
	d         *demo
	feed      *feed
	endpoints *endpoints
}

// withClient runs body while a client calls the server.
func (d *demo) withClient(ctx context.Context, c cluster, client, server string, body func(context.Context, *stage) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	watched, stop := watchEndpoints(ctx, c, server)
	defer stop()
	defer cancel(nil)
	if err := c.startClient(ctx, clientPod(client, d.Image, server, d.Callers, d.Rate)); err != nil {
		return err
	}
	s := &stage{cluster: c, d: d, feed: newFeed(d.screen.line), endpoints: watched}
	wg.Go(func() {
		if err := s.feed.follow(ctx, c, client); err != nil {
			cancel(err)
		}
	})
	if err := body(ctx, s); err != nil {
		return errors.Join(err, c.clientState(context.WithoutCancel(ctx), client))
	}
	return c.stopClient(ctx, client)
}

// before shows the problem: one connection, one pod.
func (d *demo) before(ctx context.Context) error {
	c := cluster{kube: d.Kube, ns: beforeNamespace}
	d.screen.say("Without the mesh: namespace %s, %d servers, a client with one connection", c.ns, fewReplicas)
	if err := c.reset(ctx, false); err != nil {
		return err
	}
	if err := c.startServers(ctx, "server", d.Image, fewReplicas); err != nil {
		return err
	}
	return d.withClient(ctx, c, "client", "server", func(ctx context.Context, s *stage) error {
		if err := s.checkSidecar(ctx, "client", false); err != nil {
			return err
		}
		pods, err := s.endpoints.wait(ctx, fewReplicas)
		if err != nil {
			return err
		}
		counts, err := s.window(ctx, fmt.Sprintf("%d servers", fewReplicas), pods, func(c tally.Counts) bool {
			return c.Total() >= d.WindowCalls
		})
		d.result.beforeMaxShare = counts.MaxShare()
		return err
	})
}

// after shows the mesh: evenly spread, through a scale-up and a rollout.
func (d *demo) after(ctx context.Context) error {
	c := cluster{kube: d.Kube, ns: afterNamespace}
	d.screen.say("With the mesh: namespace %s is labelled, nothing else is different", c.ns)
	if err := c.reset(ctx, true); err != nil {
		return err
	}
	if err := c.startServers(ctx, "server", d.Image, fewReplicas); err != nil {
		return err
	}
	return d.withClient(ctx, c, "client", "server", func(ctx context.Context, s *stage) error {
		if err := s.checkSidecar(ctx, "client", true); err != nil {
			return err
		}
		for _, step := range []func(context.Context) error{s.few, s.scaleUp, s.rollOut} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return s.conclude(ctx)
	})
}

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

// exitAtOnce rolls servers that do not stop gracefully: calls in flight can't be
// saved by anyone, all others have to be.
func (d *demo) exitAtOnce(ctx context.Context) error {
	const server = "server-exit"
	c := cluster{kube: d.Kube, ns: afterNamespace}
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

// leave tidies up: everything goes, or quiet clients stay for looking.
func (d *demo) leave(ctx context.Context) error {
	before, after := cluster{kube: d.Kube, ns: beforeNamespace}, cluster{kube: d.Kube, ns: afterNamespace}
	if d.Cleanup {
		return errors.Join(before.remove(ctx), after.remove(ctx))
	}
	if err := after.deleteServers(ctx, "server-exit"); err != nil {
		return err
	}
	if err := after.scale(ctx, "server", fewReplicas); err != nil {
		return err
	}
	for _, c := range []cluster{before, after} {
		if err := c.startClient(ctx, clientPod("client", d.Image, "server", 1, idleRate)); err != nil {
			return err
		}
	}
	d.screen.say("Namespaces %s and %s stay up, with clients of %d calls/s.", before.ns, after.ns, idleRate)
	return nil
}
