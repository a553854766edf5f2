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
)

// Node is the annotation shunt.dev/node of a Node: what its agent says of it.
type Node struct {
	Version string `json:"version"` // of the agent
	// Backend captures the pods that name none; "" while none was chosen. Reason
	// says in words why it, or why none.
	Backend string `json:"backend"`
	Reason  string `json:"reason"`
	// Plugin is NodeInstalled, NodeUninstalled, or words that say what the agent
	// waits for.
	Plugin string `json:"plugin"`
	// Annotations is NodeHandedOver where the runtime tells the plugin about the
	// pod, and otherwise words: the plugin asks the agent then.
	Annotations string `json:"annotations"`
	Rules       string `json:"rules,omitempty"` // NodeRemoved once they were, after UninstallRules
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
