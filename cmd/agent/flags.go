// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/shuntmesh/shunt/cni/agent/programs"
	"github.com/shuntmesh/shunt/cni/conf"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect/backends"
)

// options is what the flags say.
type options struct {
	node, namespace, kubeconfig string
	listen, socket, proc        string
	binDir, confDir, cacheDir   string
	network, plugin, pluginLog  string
	backend, discovery          string
	programs                    programs.Options
	logLevel                    slog.Level
	version                     bool
}

func parse(args []string, lookup func(string) string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("agent", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.node, "node", lookup("NODE_NAME"), "name of this node (default: $NODE_NAME)")
	f.StringVar(&o.namespace, "namespace", contract.SystemNamespace, "namespace of the DaemonSet "+contract.NodeDaemonSet)
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "file that says how to reach the API server (default: the pod's service account)")
	f.StringVar(&o.listen, "listen", fmt.Sprintf(":%d", contract.PortNodeHTTP), "host:port of /metrics and /ready (HTTP), in the node's network")
	f.StringVar(&o.socket, "socket", conf.DefaultSocket, "path of the plugin's socket; it has to be the same on the host")
	f.StringVar(&o.proc, "proc", "/host/proc", "path of the host's /proc")
	f.StringVar(&o.backend, "backend", backends.Auto, "what captures pods that name nothing else: nftables, iptables, iptables-nft, iptables-legacy, ebpf (where it works, and else as auto), or auto for the first that works on this node and needs nothing of it")
	f.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	f.BoolVar(&o.version, "version", false, "print the version and exit")
	o.installFlags(f)
	o.programFlags(f)
	f.StringVar(&o.discovery, "discovery", "", fmt.Sprintf("host:port of discovery, which says what is balanced at connect; its certificate has to be for that host (default: %s of --namespace)", contract.DiscoveryService))
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("read arguments: %q is one too many (allowed: flags, see -h)", f.Arg(0))
	}
	return o, o.complete()
}

// installFlags are where the plugin comes from, and where it goes.
func (o *options) installFlags(f *flag.FlagSet) {
	f.StringVar(&o.plugin, "plugin", "", `file of the plugin to install (default: "cni" beside this program)`)
	f.StringVar(&o.pluginLog, "plugin-log", conf.DefaultLog, "path on the host where the plugin logs while the agent is away")
	f.StringVar(&o.binDir, "cni-bin-dir", "/host/opt/cni/bin", "the host's folder of CNI plugins, as mounted here")
	f.StringVar(&o.confDir, "cni-conf-dir", "/host/etc/cni/net.d", "the host's folder of CNI configurations, as mounted here")
	f.StringVar(&o.network, "cni-network", "", "name of the only CNI network to chain into, where the runtime is told one (CRI-O's cni_default_network); default: the first configuration, as runtimes choose")
	f.StringVar(&o.cacheDir, "cni-cache-dir", "", "the host's /var/lib/cni, as mounted here; for CRI-O, which deletes a pod by the plugins that it was added with")
}

// programFlags are where the node's eBPF is.
func (o *options) programFlags(f *flag.FlagSet) {
	f.StringVar(&o.programs.BPFFS, "bpffs", conf.DefaultBPFFS, "where bpffs is mounted, here and on the host; empty for a node without eBPF")
	f.StringVar(&o.programs.CgroupRoot, "cgroup-root", "", "control group of version 2 above all pods of this node and no other's, as mounted here (default: the one that this pod's kubelet puts all pods below)")
	f.StringVar(&o.programs.Cgroups, "cgroups", "/host/sys/fs/cgroup", "the host's /sys/fs/cgroup, as mounted here")
}

// complete fills in what is the default of others.
func (o *options) complete() error {
	if o.discovery == "" {
		o.discovery = fmt.Sprintf("%s.%s.svc:%d", contract.DiscoveryService, o.namespace, contract.PortDiscovery)
	}
	if o.plugin != "" {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return errors.New("read --plugin: it is empty, and this program's own path is unknown: " + err.Error())
	}
	o.plugin = filepath.Join(filepath.Dir(self), "cni")
	return nil
}
