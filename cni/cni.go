// SPDX-License-Identifier: Apache-2.0

// Package cni is the CNI plugin that captures injected pods: chained behind the
// plugins that give a pod its network, it redirects the pod's connections before
// any of its containers starts. From the annotations that the runtime hands over
// it decides by itself, so that neither the agent nor the API server stands in
// the way of a pod's start. It keeps no state and passes on, byte for byte, what
// the plugins before it made.
//
// It implements versions 0.3.0 to 1.1.0 of the CNI specification. Its own error
// codes are CodeRefused and CodeDifferent.
package cni

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/shuntmesh/shunt/cni/conf"
	"github.com/shuntmesh/shunt/redirect/backends"
)

// actTimeout bounds what is asked of the kernel, which answers in milliseconds,
// and the wait for another redirect in the pod's namespace. kubelet asks again.
const actTimeout = 10 * time.Second

// Plugin answers a runtime's calls.
type Plugin struct {
	// Backends returns those that the node has, whose bpffs is mounted there; "" for
	// a node without one.
	Backends func(bpffs string) []backends.Backend
	// Enter calls f in the network namespace at path.
	Enter func(path string, f func() error) error
	// Stdout takes results, which are the runtime's to read.
	Stdout io.Writer
}

// Funcs returns the calls by their verbs.
func (p Plugin) Funcs() skel.CNIFuncs {
	return skel.CNIFuncs{Add: p.Add, Check: p.Check, Del: p.Del, GC: p.GC, Status: p.Status}
}

// Versions returns the versions of the specification that are implemented.
func Versions() version.PluginInfo { return version.PluginSupports(conf.Versions()...) }

// Add captures the pod where it is injected, and passes any other at once.
func (p Plugin) Add(args *skel.CmdArgs) error {
	in, err := readInput(args.StdinData)
	if err != nil {
		return err
	}
	if err := p.each(args, in, "ADD", wish.apply); err != nil {
		return err
	}
	if _, err := p.Stdout.Write(in.PrevResult); err != nil {
		return types.NewError(types.ErrIOFailure, fmt.Sprintf("write result: %v", err), "")
	}
	return nil
}

// Check compares the rules of an injected pod with what Add makes.
func (p Plugin) Check(args *skel.CmdArgs) error {
	in, err := readInput(args.StdinData)
	if err != nil {
		return err
	}
	return p.each(args, in, "CHECK", wish.check)
}

// Del leaves everything as it is: the rules end with the pod's network
// namespace, and to take them away before would open a way past the proxy for
// whatever still runs there.
func (Plugin) Del(*skel.CmdArgs) error { return nil }

// GC finds nothing to clean: no state is kept.
func (Plugin) GC(*skel.CmdArgs) error { return nil }

// Status reports a configuration with which each ADD would fail. Of the agent
// it knows nothing: a node must not turn NotReady because of it.
func (Plugin) Status(args *skel.CmdArgs) error {
	if _, err := readEntry(args.StdinData); err != nil {
		return types.NewError(codeNotAvailable, err.Error(), "")
	}
	return nil
}

// each does to a pod what it asks of its node, if it asks for anything, and
// logs what was done or why it couldn't be.
func (p Plugin) each(args *skel.CmdArgs, in input, verb string, do func(wish, context.Context) (string, error)) error {
	who, begin := podOf(args.Args), time.Now()
	log := slog.New(slog.NewJSONHandler(journal{in.Socket, in.Log}, nil)).With(
		"verb", verb, "namespace", who.namespace, "pod", who.name, "uid", who.uid, "container", args.ContainerID)
	w, err := p.wishOf(in, who)
	if err == nil && w == nil {
		return nil
	}
	said := ""
	if err == nil {
		said, err = p.inPod(args.Netns, *w, do)
	}
	log = log.With("took", time.Since(begin).Round(time.Microsecond).String())
	if err != nil {
		log.Error("pod is not captured", "error", err)
		return err
	}
	log.Info(said)
	return nil
}

// wishOf returns what a pod asks of its node; nil for nothing.
func (p Plugin) wishOf(in input, who pod) (*wish, error) {
	annotations := in.annotations
	if !in.handedOver {
		var err error
		if annotations, err = annotationsOf(who, in.Socket); err != nil {
			return nil, err
		}
	}
	w, err := decide(annotations, in.Backend, p.Backends(in.BPFFS))
	if err != nil {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("capture pod %s: %v", who, err), "")
	}
	return w, nil
}

// inPod acts in the pod's network namespace.
func (p Plugin) inPod(path string, w wish, do func(wish, context.Context) (string, error)) (said string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), actTimeout)
	defer cancel()
	if err := refuseOwn(path); err != nil {
		return "", err
	}
	entered := false
	err = p.Enter(path, func() (err error) {
		entered = true
		said, err = do(w, ctx)
		return err
	})
	if err != nil && !entered {
		return "", types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("CNI_NETNS: %v", err), "")
	}
	return said, coded(err)
}
