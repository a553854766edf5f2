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
	pod    podReader
	screen *screen
	result result
}

func (d *demo) cluster(ns string) cluster { return cluster{kube: d.Kube, pod: d.pod, ns: ns} }

// Run plays the scenario, prints the figures and returns an error that names
// every goal that was missed.
func Run(ctx context.Context, o Options) error { return run(ctx, o, viaAPI{o.Kube}) }

func run(ctx context.Context, o Options, pod podReader) error {
	d := &demo{Options: o, pod: pod, screen: &screen{out: o.Out, terminal: o.Terminal}}
	for _, part := range []func(context.Context) error{d.clear, d.before, d.after, d.exitAtOnce, d.leave} {
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

// clear removes what an earlier run has left.
func (d *demo) clear(ctx context.Context) error { return Remove(ctx, d.Kube) }

// before shows the problem: one connection, one pod.
func (d *demo) before(ctx context.Context) error {
	c := d.cluster(beforeNamespace)
	d.screen.say("Without the mesh: namespace %s, %d servers, a client with one connection", c.ns, fewReplicas)
	if err := c.make(ctx, false); err != nil {
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
	c := d.cluster(afterNamespace)
	d.screen.say("With the mesh: namespace %s is labelled, nothing else is different", c.ns)
	if err := c.make(ctx, true); err != nil {
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

// leave tidies up: everything goes, or quiet clients stay for looking.
func (d *demo) leave(ctx context.Context) error {
	before, after := d.cluster(beforeNamespace), d.cluster(afterNamespace)
	if d.Cleanup {
		return Remove(ctx, d.Kube)
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

// Remove deletes the demo's namespaces, both at once, and waits until they are
// gone.
func Remove(ctx context.Context, kube kubernetes.Interface) error {
	var errs [2]error
	var removing sync.WaitGroup
	for i, ns := range [2]string{beforeNamespace, afterNamespace} {
		removing.Go(func() { errs[i] = cluster{kube: kube, ns: ns}.remove(ctx) })
	}
	removing.Wait()
	return errors.Join(errs[:]...)
}
