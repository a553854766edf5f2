// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"encoding/json"
	"fmt"
	"strings"
)

// AnnotationUninstall on the DaemonSet of the node agents asks them all to take
// away what they have put on their nodes; each answers in its Node. Without it
// they install.
const (
	AnnotationUninstall = "shunt.dev/uninstall"
	UninstallPlugin     = "plugin" // the CNI plugin
	UninstallRules      = "rules"  // the plugin, and then the rules of all running pods
)

// What a Node says where no words are needed.
const (
	NodeInstalled   = "installed"   // of Plugin
	NodeUninstalled = "uninstalled" // of Plugin
	NodeRemoved     = "removed"     // of Rules
	NodeHandedOver  = "handed over" // of Annotations
	NodePassed      = "passed"      // of NodePrograms.SelfTest
)

// Node is the annotation shunt.dev/node of a Node: what its agent says of it.
type Node struct {
	Version string `json:"version"` // of the agent
	// Backend captures the pods that name none; "" while none was chosen. Reason
	// says in words why it, or why none.
	Backend string `json:"backend"`
	Reason  string `json:"reason"`
	// Preferred is the backend that Backend stands in for, since it doesn't work on
	// this node; "" where none does.
	Preferred string `json:"preferred,omitempty"`
	// Plugin is NodeInstalled, NodeUninstalled, or words that say what the agent
	// waits for.
	Plugin string `json:"plugin"`
	// Annotations is NodeHandedOver where the runtime tells the plugin about the
	// pod, and otherwise words: the plugin asks the agent then.
	Annotations string `json:"annotations"`
	Rules       string `json:"rules,omitempty"` // NodeRemoved once they were, after UninstallRules
	// EBPF is nil where nothing of it is loaded.
	EBPF *NodePrograms `json:"ebpf,omitempty"`
}

// NodePrograms is what a node has of eBPF, whichever backend captures new pods.
// Numbers may be some minutes old.
type NodePrograms struct {
	Layout       string            `json:"layout"`       // version of the maps' layout
	ControlGroup string            `json:"controlGroup"` // that the programs are attached to, as the agent sees it
	Programs     []NodeProgram     `json:"programs"`
	Maps         []NodeMap         `json:"maps"`
	Pods         int               `json:"pods"`     // network namespaces that are captured
	Counters     map[string]uint64 `json:"counters"` // connections, since the programs were first loaded
	Services     int               `json:"services"` // addresses of Services that are balanced at connect
	Ends         string            `json:"ends"`     // what ends connections to endpoints that are gone
	SelfTest     string            `json:"selfTest"` // NodePassed, or in words why not
	// Others are programs of somebody else's at the same hooks, and what to do about
	// those that are known to get in the way.
	Others []string `json:"others,omitempty"`
}

// NodeProgram is one program of a node.
type NodeProgram struct {
	Name     string `json:"name"`
	Tag      string `json:"tag"`      // hash of its instructions
	Attached bool   `json:"attached"` // to the node's control group
}

// NodeMap is one map of a node.
type NodeMap struct {
	Name  string `json:"name"`
	Most  uint32 `json:"most"`  // entries that it has room for
	Bytes uint64 `json:"bytes"` // of memory, where the kernel tells
}

// Attached returns how many of the programs are.
func (p *NodePrograms) Attached() (n int) {
	for _, each := range p.Programs {
		if each.Attached {
			n++
		}
	}
	return n
}

// ParseNode reads the annotation's value. A node without an agent ("") is the
// zero Node.
func ParseNode(value string) (Node, error) {
	if strings.TrimSpace(value) == "" {
		return Node{}, nil
	}
	var n Node
	if err := json.Unmarshal([]byte(value), &n); err != nil {
		return Node{}, fmt.Errorf("read annotation %s: %w (the node's agent writes it; restart the agent)", AnnotationNode, err)
	}
	return n, nil
}

// MaxNodeWords bounds, in bytes, what one error has to say in a Node.
const MaxNodeWords = 300

// OneLine makes an error's words one line of at most MaxNodeWords, and " ..." where
// there were more.
func OneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > MaxNodeWords {
		s = strings.ToValidUTF8(s[:MaxNodeWords], "") + " ..."
	}
	return s
}
