// SPDX-License-Identifier: Apache-2.0

// Package machine makes a machine out of namespaces: its own network, mounts, processes and host name, private directories
// where daemons keep their files, and one first process that starts the daemons, restarts what ends, and takes everything
// with it when it dies.
package machine

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/shuntmesh/shunt/test/cluster/layout"
)

// Spec says what a machine is made of.
type Spec struct {
	// Name is cp, n1, n2, ...; it is the host name too.
	Name string `json:"name"`
	// State is the state directory.
	State layout.State `json:"state"`
	// Cgroup is the machine's cgroup in every hierarchy.
	Cgroup string `json:"cgroup"`
	// Join are the cgroup.procs files that the first process joins.
	Join []string `json:"join"`
	// Mounts are made in order, in the machine's own mount namespace.
	Mounts []Mount `json:"mounts"`
	// Services are the daemons.
	Services []Service `json:"services"`
}

// Mount is one mount inside a machine.
type Mount struct {
	// Kind is bind, tmpfs, proc or bpf.
	Kind string `json:"kind"`
	// Source is the directory or file of a bind.
	Source string `json:"source,omitempty"`
	// Target must exist.
	Target string `json:"target"`
}

// Service is one daemon of a machine.
type Service struct {
	// Name names the log.
	Name string `json:"name"`
	// Args is the program, as an absolute path, and its arguments.
	Args []string `json:"args"`
	// After are what the daemon waits for before it starts: unix:<socket>, tcp:<address> or file:<path>.
	After []string `json:"after,omitempty"`
}

// Write files the spec where the machine's first process reads it.
func (s Spec) Write() error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the spec of %s: %w", s.Name, err)
	}
	if err := os.MkdirAll(s.State.Path(s.Name), 0o755); err != nil {
		return fmt.Errorf("write the spec of %s: %w", s.Name, err)
	}
	if err := os.WriteFile(s.State.Spec(s.Name), text, 0o644); err != nil {
		return fmt.Errorf("write the spec of %s: %w", s.Name, err)
	}
	return nil
}

// Read reads a spec.
func Read(path string) (Spec, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Spec{}, fmt.Errorf("read a machine's spec: %w", err)
	}
	var s Spec
	if err := json.Unmarshal(text, &s); err != nil {
		return Spec{}, fmt.Errorf("read a machine's spec %s: %w", path, err)
	}
	return s, nil
}

// PrivateDirs are the directories of which every machine has its own, empty at first. What the host has there is hidden.
func PrivateDirs() []string {
	return []string{"/etc/cni", "/opt/cni", "/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni", "/var/log"}
}
