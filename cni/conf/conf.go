// SPDX-License-Identifier: Apache-2.0

// Package conf is what a node's CNI configuration says about the plugin: one
// entry among a conflist's plugins, with its defaults and its validation. The
// agent writes it and the plugin reads it; nothing else knows its keys. It is
// pure.
package conf

import (
	"fmt"
	"path/filepath"

	"github.com/shuntmesh/shunt/internal/contract"
)

// PodAnnotations is the capability by which a plugin asks the runtime for the
// pod's annotations: the key of Capabilities, and of runtimeConfig on stdin.
const PodAnnotations = "io.kubernetes.cri.pod-annotations"

// Versions returns the versions of the CNI specification that the plugin speaks:
// all that have lists of plugins. In a list of another version every pod of the
// node would fail, so the plugin must not be chained there.
func Versions() []string { return []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} }

// Where the node agent and the plugin meet, unless the entry says otherwise.
const (
	DefaultSocket = "/run/shunt/agent.sock"
	DefaultLog    = "/var/log/shunt-cni.log"
	DefaultBPFFS  = "/sys/fs/bpf" // where systemd mounts it
)

// maxSocketPath is what fits into a socket's address, sun_path of unix(7), with
// the byte that ends it.
const maxSocketPath = 107

// Entry is the plugin's entry. Entries can be compared with ==.
type Entry struct {
	Type         string       `json:"type"` // the plugin's file name
	Capabilities Capabilities `json:"capabilities"`
	Backend      string       `json:"backend,omitempty"` // of pods that name none; "" for the first that works
	Socket       string       `json:"socket,omitempty"`  // of the agent; "" for none: then runtimes must hand over annotations
	Log          string       `json:"log,omitempty"`     // where the plugin logs while the agent is away; "" for nowhere
	// BPFFS is where the node's bpffs is mounted, below which its agent pins eBPF
	// programs; "" where the node has none.
	BPFFS string `json:"bpffs,omitempty"`
}

// Capabilities are what the runtime is asked for.
type Capabilities struct {
	PodAnnotations bool `json:"io.kubernetes.cri.pod-annotations"`
}

// Default returns the entry of a node that chooses the backend pod by pod.
func Default() Entry {
	return Entry{
		Type:         contract.PluginBinary,
		Capabilities: Capabilities{PodAnnotations: true},
		Socket:       DefaultSocket,
		Log:          DefaultLog,
	}
}

// Validate returns what is impossible about an entry, by the name of its key.
// Whether there is a backend of that name is for the plugin to say.
func (e Entry) Validate() error {
	if e.Type == "" {
		return fmt.Errorf("type: value %q is not possible (allowed: the file name of the plugin, such as %s)", e.Type, contract.PluginBinary)
	}
	if e.Socket != "" && (!filepath.IsAbs(e.Socket) || len(e.Socket) > maxSocketPath) {
		return fmt.Errorf("socket: value %q is not possible (allowed: an absolute path of at most %d bytes, such as %s)", e.Socket, maxSocketPath, DefaultSocket)
	}
	if e.Log != "" && !filepath.IsAbs(e.Log) {
		return fmt.Errorf("log: value %q is not possible (allowed: an absolute path, such as %s)", e.Log, DefaultLog)
	}
	if e.BPFFS != "" && !filepath.IsAbs(e.BPFFS) {
		return fmt.Errorf("bpffs: value %q is not possible (allowed: an absolute path, such as %s)", e.BPFFS, DefaultBPFFS)
	}
	return nil
}
