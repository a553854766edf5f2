// SPDX-License-Identifier: Apache-2.0

package fakeapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/shuntmesh/shunt/internal/contract"
)

const agentsPath = "/apis/apps/v1/namespaces/" + contract.SystemNamespace + "/daemonsets/" + contract.NodeDaemonSet

// startAgents plays the controller of the nodes' DaemonSet, and its agents.
func (s *Server) startAgents(o map[string]any) {
	if o["kind"] != "DaemonSet" {
		return
	}
	o["status"] = map[string]any{"updatedNumberScheduled": float64(len(s.Nodes))} // as JSON has it
	s.endAgents(agentsPath)
	for _, n := range s.Nodes {
		name, _ := metadata(n)["name"].(string)
		s.Pods = append(s.Pods, map[string]any{
			"metadata": map[string]any{
				"namespace": contract.SystemNamespace, "name": contract.NodeDaemonSet + "-" + name,
				"labels": map[string]any{"app.kubernetes.io/name": contract.NodeDaemonSet},
			},
			"spec":   map[string]any{"nodeName": name},
			"status": map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": "True"}}},
		})
	}
	said := contract.Node{Version: "0.1.0", Backend: "nftables", Plugin: contract.NodeInstalled, Annotations: contract.NodeHandedOver}
	if text, _ := json.Marshal(o); strings.Contains(string(text), "--backend=ebpf") {
		said.Backend, said.EBPF = "ebpf", programs()
	}
	s.agentsSay(said)
}

// programs are those of a node on which Cilium balances sockets.
func programs() *contract.NodePrograms {
	return &contract.NodePrograms{
		Layout: "v1", ControlGroup: "/host/sys/fs/cgroup", Pods: 12, SelfTest: contract.NodePassed,
		Programs: []contract.NodeProgram{{Name: "connect4", Tag: "5b1d", Attached: true}, {Name: "connect6", Tag: "5b1e", Attached: true}},
		Maps:     []contract.NodeMap{{Name: "pods", Most: 1024, Bytes: 3 << 20}},
		Counters: map[string]uint64{"captured_outbound": 70, "refused_no_proxy": 2, "refused_policy": 1, "lost_origins": 0},
		Others:   []string{"cil_sock4_connect at connect4 (Cilium's)"},
	}
}

func (s *Server) endAgents(path string) {
	if path == agentsPath {
		s.Pods = slices.DeleteFunc(s.Pods, func(p any) bool {
			name, _ := metadata(p)["name"].(string)
			return strings.HasPrefix(name, contract.NodeDaemonSet+"-")
		})
	}
}

func (s *Server) agentsSay(n contract.Node) {
	text, _ := json.Marshal(n) // strings
	for _, node := range s.Nodes {
		if name, _ := metadata(node)["name"].(string); name != s.Mute {
			metadata(node)["annotations"] = map[string]any{contract.AnnotationNode: string(text)}
		}
	}
}

// annotate merges annotations into an object, or into a node. Agents do what
// their DaemonSet's ask for.
func (s *Server) annotate(w http.ResponseWriter, path string, in map[string]any) {
	s.Log = append(s.Log, "ANNOTATE "+path)
	values, _ := metadata(in)["annotations"].(map[string]any)
	target := s.objects[path]
	for _, n := range s.Nodes {
		if node, ok := n.(map[string]any); ok && path == "/api/v1/nodes/"+metadata(n)["name"].(string) {
			target = node
			target["apiVersion"], target["kind"] = "v1", "Node"
		}
	}
	if target == nil {
		status(w, http.StatusNotFound, "NotFound", path+" not found")
		return
	}
	have, _ := metadata(target)["annotations"].(map[string]any)
	if have == nil {
		have = map[string]any{}
	}
	for key, value := range values {
		if value == nil {
			delete(have, key)
			continue
		}
		have[key] = value
	}
	metadata(target)["annotations"] = have
	if asked, _ := have[contract.AnnotationUninstall].(string); asked != "" && !s.Idle {
		said := contract.Node{Version: "0.1.0", Plugin: contract.NodeUninstalled}
		if asked == contract.UninstallRules {
			said.Rules = contract.NodeRemoved
		}
		s.agentsSay(said)
	}
	s.reply(w, http.StatusOK, target)
}

func metadata(o any) map[string]any {
	object, _ := o.(map[string]any)
	meta, _ := object["metadata"].(map[string]any)
	return meta
}
