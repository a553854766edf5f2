// SPDX-License-Identifier: Apache-2.0

// Package agent is the node agent, a pod of a DaemonSet in the node's own
// network. It chooses by trying how the node captures pods, keeps the CNI plugin
// in place, captures pods that were started without it, and says so: in its
// Node, in Events and in metrics. It also answers the plugin where the runtime
// doesn't.
//
// No pod waits for it where the runtime hands over annotations, and it needs the
// API server only for knowing which pods there are: what it knows it goes on
// with.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shuntmesh/shunt/cni/agent/kube"
	"github.com/shuntmesh/shunt/cni/agent/podns"
	"github.com/shuntmesh/shunt/cni/agent/programs"
	"github.com/shuntmesh/shunt/cni/agent/repair"
	"github.com/shuntmesh/shunt/cni/agent/services"
	"github.com/shuntmesh/shunt/cni/agent/socket"
	"github.com/shuntmesh/shunt/cni/conf"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/events"
	"github.com/shuntmesh/shunt/internal/task"
	"github.com/shuntmesh/shunt/redirect/backends"
)

// Options is what an agent is made of. All fields are needed.
type Options struct {
	Node      string // the name of the agent's
	Clients   *kube.Clients
	Listen    string // host:port of /metrics and /ready
	Socket    string // path of the plugin's socket, here as on the host
	PluginLog string // path of the plugin's own log, on the host
	Proc      string // path of the host's /proc
	Backend   string // the node's by name, or backends.Auto
	Backends  []backends.Backend
	// Programs says where the node's eBPF is. The agent adds Proc, Told and Log.
	Programs  programs.Options
	Discovery string // host:port of discovery, whose certificate is for that host
	TokenFile string // shown to discovery
	// Installer returns what keeps the plugin in place by that entry. It counts
	// what happens by name, and tells changed of each change: nil where the plugin
	// is in place and chained, else why not. Neither blocks.
	Installer func(e conf.Entry, count func(event string), changed func(error)) Installer
	// InstallEvents are all names that count may be called with.
	InstallEvents []string
	Log           *slog.Logger
}

// Run works until ctx ends, and returns when all that it started has ended. An
// error is something that a restart, or another configuration, may cure.
func Run(ctx context.Context, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	namespaces, err := podns.New(o.Proc)
	if err != nil {
		return err
	}
	p, err := newParts(o, namespaces)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("listen for metrics: %w", err)
	}
	plugin, err := socket.Listen(socket.Options{
		Path: o.Socket, Status: p.pods.Status, Asked: p.state.setAsked, Metrics: p.asked, Log: o.Log,
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	o.Log.Info("listening", "http", listener.Addr().String(), "socket", o.Socket, "node", o.Node, "version", p.state.get().Version)
	c := &control{listener: listener, registry: p.registry(), ready: p.ready, log: o.Log}
	return task.Join(ctx, c.run, plugin.Run, p.pods.Run, p.set.Run, p.recorder.Run, p.reporter.run, p.keeper.run)
}

// check refuses what would only show when the first pod is to be captured.
func (o Options) check() error {
	if o.Node == "" {
		return errors.New("read --node: it is empty (allowed: the name of the node; the downward API has it as spec.nodeName)")
	}
	if _, err := backends.Choose(o.Backend, o.Backends); err != nil {
		return fmt.Errorf("read --backend: %w", err)
	}
	if err := o.entry("").Validate(); err != nil {
		return fmt.Errorf("check the plugin's configuration: %w", err)
	}
	return nil
}

// entry is the plugin's in the conflist.
func (o Options) entry(backend string) conf.Entry {
	e := conf.Default()
	e.Backend, e.Log, e.Socket, e.BPFFS = backend, o.PluginLog, o.Socket, o.Programs.BPFFS
	return e
}

func (o Options) programs(s *state) *programs.Programs {
	p := o.Programs
	p.Proc, p.Log, p.Told = o.Proc, o.Log, s.setPrograms
	return programs.New(p)
}

// parts work side by side; each has a Run.
type parts struct {
	options   Options
	state     *state
	pods      *kube.Pods
	set       *kube.DaemonSet
	recorder  *events.Recorder
	reporter  *reporter
	programs  *programs.Programs
	keeper    *keeper
	repairs   *repair.Metrics
	asked     *socket.Metrics
	services  *services.Feed
	balanced  *services.Metrics
	installed *prometheus.CounterVec
}

func newParts(o Options, namespaces repair.Namespaces) (*parts, error) {
	p := &parts{
		options: o,
		state:   newState(),
		pods:    kube.NewPods(o.Node, o.Clients, o.Log),
		set:     kube.NewDaemonSet(o.Clients, o.Log),
		recorder: events.New(events.Options{
			Component: contract.NodeDaemonSet, Metrics: "shunt_node", Writer: o.Clients.Events, Log: o.Log,
		}),
		repairs:  repair.NewMetrics(),
		asked:    socket.NewMetrics(),
		balanced: services.NewMetrics(),
		installed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shunt_node_plugin_events_total", Help: "What happened to the plugin's files and to the CNI configuration, by kind; cni/agent/README.md explains each.",
		}, []string{"event"}),
	}
	for _, event := range o.InstallEvents {
		p.installed.WithLabelValues(event)
	}
	p.reporter = &reporter{nodes: o.Clients.Nodes, node: o.Node, state: p.state, log: o.Log}
	p.programs = o.programs(p.state)
	if err := p.addFeed(); err != nil {
		return nil, err
	}
	p.keeper = &keeper{
		want:     o.Backend,
		programs: p.programs,
		beside:   p.beside,
		detect:   func(ctx context.Context) ([]backends.Detected, error) { return backends.Detect(ctx, o.Backends) },
		installer: func(backend string) Installer {
			return o.Installer(o.entry(backend), func(event string) { p.installed.WithLabelValues(event).Inc() }, p.state.setPlugin)
		},
		repairer: func(backend string) repairer {
			return repair.New(repair.Options{
				Pods: p.pods, Namespaces: namespaces, Backends: o.Backends, Backend: backend,
				Record: p.recorder.Record, Metrics: p.repairs, Log: o.Log,
			})
		},
		wishes: p.set,
		forget: func(ctx context.Context) error { return kube.Forget(ctx, o.Clients.Nodes, o.Node) },
		state:  p.state,
		log:    o.Log,
	}
	return p, nil
}

func (p *parts) registry() *prometheus.Registry {
	return newRegistry(p.state, p.options.Backends,
		p.repairs.Collectors(), p.asked.Collectors(), p.programs.Collectors(), p.balanced.Collectors(), p.recorder.Collectors(), []prometheus.Collector{p.installed})
}

// ready stays nil while the API server is away.
func (p *parts) ready() error {
	if err := p.state.ready(); err != nil {
		return err
	}
	if err := p.programs.Ready(); err != nil {
		return err
	}
	return p.pods.Ready()
}
