// SPDX-License-Identifier: Apache-2.0

// Package fakeapi is an API server for tests, small enough to read: it stores
// objects by their path, merges server-side applies, and plays the controllers
// that an installation waits for. It listens on loopback only and knows no
// authentication.
package fakeapi

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"
)

// Server is the fake. Set its fields before the first request.
type Server struct {
	Minor  string   // of the Kubernetes version, "34" when empty
	Denied string   // resource that nobody may touch
	Idle   bool     // controllers and the webhook do nothing
	Mute   string   // node whose agent says nothing
	Nodes  []any    // nodes as JSON objects
	Pods   []any    // pods as JSON objects
	Log    []string // writes, as "APPLY /path", in order

	Objects map[string]map[string]any // what is there at the start, by path

	mu      sync.Mutex
	objects map[string]map[string]any
	version int
	http    *httptest.Server
}

// Start listens until Close.
func (s *Server) Start() {
	s.objects = map[string]map[string]any{}
	maps.Copy(s.objects, s.Objects)
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
}

// Close ends the server.
func (s *Server) Close() { s.http.Close() }

// URL is the server's base.
func (s *Server) URL() string { return s.http.URL }

// WriteKubeconfig writes a kubeconfig for the server to path.
func (s *Server) WriteKubeconfig(path string) error {
	config := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: fake
clusters: [{name: fake, cluster: {server: %q}}]
contexts: [{name: fake, context: {cluster: fake, user: fake}}]
users: [{name: fake, user: {}}]
`, s.http.URL)
	return os.WriteFile(path, []byte(config), 0o600)
}

// Paths returns the paths of all stored objects.
func (s *Server) Paths() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for p := range s.objects {
		out = append(out, p)
	}
	return out
}

// Object returns what is stored at path, nil when nothing is.
func (s *Server) Object(path string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[path]
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	in := map[string]any{}
	if r.Method == http.MethodPatch || r.Method == http.MethodPost {
		if err := yaml.Unmarshal(body, &in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	switch path := r.URL.Path; {
	case path == "/version":
		s.reply(w, http.StatusOK, map[string]any{"major": "1", "minor": s.minor(), "gitVersion": "v1." + s.minor() + ".0"})
	case strings.HasSuffix(path, "/selfsubjectaccessreviews"):
		s.reply(w, http.StatusCreated, s.review(in))
	case r.Method == http.MethodGet && path == "/api/v1/nodes":
		s.reply(w, http.StatusOK, listOf("NodeList", s.Nodes))
	case r.Method == http.MethodGet && strings.HasPrefix(path, "/api/v1/") && strings.HasSuffix(path, "/pods"):
		s.reply(w, http.StatusOK, listOf("PodList", s.podsOf(path)))
	case r.Method == http.MethodPost && strings.HasSuffix(path, "/pods"):
		s.createPod(w, r, in)
	case r.Method == http.MethodGet:
		s.get(w, path)
	case r.Method == http.MethodPatch && r.Header.Get("Content-Type") == "application/merge-patch+json":
		s.annotate(w, path, in)
	case r.Method == http.MethodPatch:
		s.apply(w, r, in)
	case r.Method == http.MethodDelete:
		s.remove(w, path)
	default:
		status(w, http.StatusMethodNotAllowed, "MethodNotAllowed", r.Method+" "+path)
	}
}

func (s *Server) minor() string {
	if s.Minor == "" {
		return "34"
	}
	return s.Minor
}

func (s *Server) review(in map[string]any) map[string]any {
	spec, _ := in["spec"].(map[string]any)
	attrs, _ := spec["resourceAttributes"].(map[string]any)
	in["status"] = map[string]any{"allowed": attrs["resource"] != s.Denied}
	return in
}

// createPod plays the webhook, and insists on a dry run.
func (s *Server) createPod(w http.ResponseWriter, r *http.Request, pod map[string]any) {
	if r.URL.Query().Get("dryRun") != "All" {
		status(w, http.StatusForbidden, "Forbidden", "a test must not create pods")
		return
	}
	if !s.Idle {
		spec, _ := pod["spec"].(map[string]any)
		spec["initContainers"] = []any{map[string]any{"name": "shunt-proxy"}}
	}
	s.reply(w, http.StatusCreated, pod)
}

// podsOf returns the pods of the path's namespace; selectors are not known.
func (s *Server) podsOf(path string) []any {
	name := strings.TrimSuffix(strings.TrimPrefix(path, "/api/v1/namespaces/"), "/pods")
	var out []any
	for _, p := range s.Pods {
		pod, _ := p.(map[string]any)
		meta, _ := pod["metadata"].(map[string]any)
		if path == "/api/v1/pods" || meta["namespace"] == name {
			out = append(out, p)
		}
	}
	return out
}

func (s *Server) get(w http.ResponseWriter, path string) {
	o, ok := s.objects[path]
	if !ok {
		status(w, http.StatusNotFound, "NotFound", path+" not found")
		return
	}
	s.reply(w, http.StatusOK, o)
}

func (s *Server) apply(w http.ResponseWriter, r *http.Request, in map[string]any) {
	path := r.URL.Path
	if r.Header.Get("Content-Type") != "application/apply-patch+yaml" || r.URL.Query().Get("fieldManager") == "" {
		status(w, http.StatusUnsupportedMediaType, "UnsupportedMediaType", "only server-side apply with a field manager is known")
		return
	}
	s.Log = append(s.Log, "APPLY "+path)
	before, existed := s.objects[path]
	after := merge(clone(before), in)
	if existed && reflect.DeepEqual(before, after) {
		s.reply(w, http.StatusOK, before)
		return
	}
	s.version++
	meta, _ := after["metadata"].(map[string]any)
	meta["resourceVersion"] = fmt.Sprint(s.version)
	if !s.Idle {
		control(after)
		s.startAgents(after)
	}
	s.objects[path] = after
	s.reply(w, http.StatusOK, after)
}

func (s *Server) remove(w http.ResponseWriter, path string) {
	if _, ok := s.objects[path]; !ok {
		status(w, http.StatusNotFound, "NotFound", path+" not found")
		return
	}
	s.Log = append(s.Log, "DELETE "+path)
	s.endAgents(path)
	// A namespace takes all that is in it away.
	name, isNamespace := strings.CutPrefix(path, "/api/v1/namespaces/")
	maps.DeleteFunc(s.objects, func(p string, _ map[string]any) bool {
		return p == path || isNamespace && strings.Contains(p, "/namespaces/"+name+"/")
	})
	s.reply(w, http.StatusOK, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Success"})
}

// control does what controllers and our webhook do to an object.
func control(o map[string]any) {
	switch o["kind"] {
	case "Deployment":
		spec, _ := o["spec"].(map[string]any)
		n := spec["replicas"]
		o["status"] = map[string]any{"replicas": n, "updatedReplicas": n, "availableReplicas": n}
	case "MutatingWebhookConfiguration":
		entries, _ := o["webhooks"].([]any)
		for _, e := range entries {
			entry, _ := e.(map[string]any)
			config, _ := entry["clientConfig"].(map[string]any)
			config["caBundle"] = "Q0E="
		}
	}
}

// merge lays in over base; lists whose items have a name are merged by it, as
// server-side apply does with webhooks, containers and ports.
func merge(base, in map[string]any) map[string]any {
	if base == nil {
		return clone(in)
	}
	for k, v := range in {
		switch v := v.(type) {
		case map[string]any:
			old, _ := base[k].(map[string]any)
			base[k] = merge(old, v)
		case []any:
			base[k] = mergeList(base[k], v)
		default:
			base[k] = v
		}
	}
	return base
}

func mergeList(base any, in []any) []any {
	byName := map[any]map[string]any{}
	old, _ := base.([]any)
	for _, o := range old {
		if item, ok := o.(map[string]any); ok && item["name"] != nil {
			byName[item["name"]] = item
		}
	}
	var out []any
	for _, i := range in {
		if item, ok := i.(map[string]any); ok && item["name"] != nil {
			out = append(out, merge(byName[item["name"]], item))
			continue
		}
		out = append(out, i)
	}
	return out
}

func clone(o map[string]any) map[string]any {
	if o == nil {
		return nil
	}
	body, _ := json.Marshal(o) // came from JSON
	var out map[string]any
	_ = json.Unmarshal(body, &out)
	return out
}

func listOf(kind string, items []any) map[string]any {
	if items == nil {
		items = []any{}
	}
	return map[string]any{"kind": kind, "apiVersion": "v1", "metadata": map[string]any{}, "items": items}
}

func (s *Server) reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // a client that is gone fails its own test
}

func status(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code,
	})
}
