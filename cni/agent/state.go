// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"reflect"
	"sync"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/version"
)

// state is what the agent has to say of its node.
type state struct {
	mu      sync.Mutex
	node    contract.Node
	runtime string // as the kubelet calls it, "" while unknown
	asked   bool   // a plugin had to ask for a pod

	// changed has room for one: there was a change since somebody looked.
	changed chan struct{}
}

func newState() *state {
	return &state{
		node: contract.Node{
			Version: version.Version, Reason: "the backends have not been tried yet", Plugin: "waiting: a backend has to be chosen first",
			Annotations: handover("", false),
		},
		changed: make(chan struct{}, 1),
	}
}

func (s *state) get() contract.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.node
}

// update changes what is to be said, and tells of it if that made a difference.
func (s *state) update(f func(*contract.Node)) {
	s.mu.Lock()
	before := s.node
	f(&s.node)
	differs := !reflect.DeepEqual(s.node, before)
	s.mu.Unlock()
	if !differs {
		return
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// setRuntime takes what the kubelet says of the runtime. Another than before
// may hand over annotations, so what was seen of the last one is forgotten.
func (s *state) setRuntime(runtime string) {
	s.update(func(n *contract.Node) {
		if runtime != s.runtime && s.runtime != "" {
			s.asked = false
		}
		s.runtime = runtime
		n.Annotations = handover(s.runtime, s.asked)
	})
}

// setAsked takes that a plugin had to ask for a pod.
func (s *state) setAsked() {
	s.update(func(n *contract.Node) {
		s.asked = true
		n.Annotations = handover(s.runtime, s.asked)
	})
}

func (s *state) setChoice(c choice) {
	s.update(func(n *contract.Node) {
		n.Backend, n.Reason, n.Preferred, n.Rules = c.backend, c.reason, c.preferred, ""
	})
}

// setPrograms takes what there is of eBPF, which nobody changes any more.
func (s *state) setPrograms(now *contract.NodePrograms) {
	s.update(func(n *contract.Node) { n.EBPF = now })
}

// setPlugin takes what the installer says: nil where the plugin is in place.
func (s *state) setPlugin(err error) {
	s.update(func(n *contract.Node) {
		n.Plugin = contract.NodeInstalled
		if err != nil {
			n.Plugin = "waiting: " + contract.OneLine(err.Error())
		}
	})
}

// ready returns nil while the node captures new pods.
func (s *state) ready() error {
	n := s.get()
	switch {
	case n.Backend == "":
		return errors.New("not ready: " + n.Reason)
	case n.Plugin != contract.NodeInstalled:
		return errors.New("not ready: plugin " + n.Plugin)
	default:
		return nil
	}
}
