// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"

	"github.com/shuntmesh/shunt/cni/agent"
	"github.com/shuntmesh/shunt/cni/agent/kube"
	"github.com/shuntmesh/shunt/cni/conf"
	"github.com/shuntmesh/shunt/cni/install"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect/backends/onnode"
)

// run works until ctx ends.
func run(ctx context.Context, o options, log *slog.Logger) error {
	clients, err := kube.Connect(o.kubeconfig, o.namespace)
	if err != nil {
		return err
	}
	return agent.Run(ctx, agent.Options{
		Node:          o.node,
		Clients:       clients,
		Listen:        o.listen,
		Socket:        o.socket,
		PluginLog:     o.pluginLog,
		Proc:          o.proc,
		Backend:       o.backend,
		Backends:      onnode.Backends(o.programs.BPFFS),
		Programs:      o.programs,
		Discovery:     o.discovery,
		TokenFile:     contract.TokenFile,
		Installer:     o.installer(log),
		InstallEvents: events(),
		Log:           log,
	})
}

// installer returns what makes installers of the plugin by its entry.
func (o options) installer(log *slog.Logger) func(conf.Entry, func(string), func(error)) agent.Installer {
	return func(e conf.Entry, count func(string), changed func(error)) agent.Installer {
		return install.New(install.Options{
			BinarySource: o.plugin,
			BinDir:       o.binDir,
			ConfDir:      o.confDir,
			Network:      o.network,
			CacheDir:     o.cacheDir,
			Entry:        e,
			Log:          log,
			Count:        func(e install.Event) { count(string(e)) },
			Changed:      changed,
		})
	}
}

func events() []string {
	var names []string
	for _, e := range install.Events() {
		names = append(names, string(e))
	}
	return names
}
