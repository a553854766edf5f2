// SPDX-License-Identifier: Apache-2.0

//go:build netns

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/shuntmesh/shunt/internal/contract"
)

// fakeAPI is as much of an API server as the agent talks to: the pods of a node,
// the Node, the agents' DaemonSet, Events. It speaks HTTP on loopback.
type fakeAPI struct {
	*httptest.Server

	mu       sync.Mutex
	pods     map[string]metav1.PartialObjectMetadata
	watches  map[chan []byte]bool // of pods
	node     map[string]string    // its annotations
	events   map[string]int       // by reason
	selector string               // of the last list of pods
	gone     bool                 // the DaemonSet
	wish     string               // what it asks for
}

func newFakeAPI(t *testing.T) *fakeAPI {
	t.Helper()
	f := &fakeAPI{pods: map[string]metav1.PartialObjectMetadata{}, watches: map[chan []byte]bool{}, node: map[string]string{}, events: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/pods", f.servePods)
	mux.HandleFunc("GET /api/v1/nodes/here", f.serveNode)
	mux.HandleFunc("PATCH /api/v1/nodes/here", f.patchNode)
	mux.HandleFunc("GET /apis/apps/v1/namespaces/shunt-system/daemonsets", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") != "" {
			hang(w, r)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		reply(w, http.StatusOK, map[string]any{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": map[string]any{"resourceVersion": "1"}, "items": []any{f.daemonSet()}})
	})
	mux.HandleFunc("GET /apis/apps/v1/namespaces/shunt-system/daemonsets/shunt-node", func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.gone {
			reply(w, http.StatusNotFound, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound})
			return
		}
		reply(w, http.StatusOK, f.daemonSet())
	})
	mux.HandleFunc("POST /api/v1/namespaces/{namespace}/events", f.postEvent)
	f.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		f.CloseClientConnections() // watches last
		f.Close()
	})
	return f
}

// daemonSet is called under f.mu.
func (f *fakeAPI) daemonSet() metav1.PartialObjectMetadata {
	annotations := map[string]string{}
	if f.wish != "" {
		annotations[contract.AnnotationUninstall] = f.wish
	}
	return metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
		ObjectMeta: metav1.ObjectMeta{Name: contract.NodeDaemonSet, Namespace: contract.SystemNamespace, ResourceVersion: "1", Annotations: annotations},
	}
}

// kubeconfig writes a file that leads to f.
func (f *fakeAPI) kubeconfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c",
"clusters":[{"name":"c","cluster":{"server":%q}}],"users":[{"name":"c"}],"contexts":[{"name":"c","context":{"cluster":"c","user":"c"}}]}`, f.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const status = `{"version":"0.1.0","interception":"cni","containers":["shunt-validate","shunt-proxy"],"redirect":["-p","15001","-z","15006","-u","1337","-m","REDIRECT","-i","*","-x","","-b","*","-d","15090,15020"]}`

// metadata is as a cluster's is: with what the API server and the kubelet add.
func podMetadata(uid string) metav1.PartialObjectMetadata {
	return metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "web-" + uid, Namespace: "shop", UID: types.UID(uid), ResourceVersion: "1",
			Labels: map[string]string{"app": "web", "pod-template-hash": "7b5c9d"},
			Annotations: map[string]string{
				contract.AnnotationStatus:                          status,
				"kubectl.kubernetes.io/last-applied-configuration": strings.Repeat("x", 2000),
			},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubelet", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:status":"` + strings.Repeat("f", 3000) + `"}`)}}},
		},
	}
}

func (f *fakeAPI) servePods(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if r.URL.Query().Get("watch") == "" {
		list := metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
		for p := range maps.Values(f.pods) {
			list.Items = append(list.Items, p)
		}
		f.selector = r.URL.Query().Get("fieldSelector")
		f.mu.Unlock()
		reply(w, http.StatusOK, list)
		return
	}
	lines := make(chan []byte, 2000)
	f.watches[lines] = true
	f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	for {
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			f.mu.Lock()
			delete(f.watches, lines)
			f.mu.Unlock()
			return
		case line := <-lines:
			_, _ = w.Write(line)
		}
	}
}

// set adds or removes a pod, and tells of it.
func (f *fakeAPI) set(t *testing.T, uid string, present bool) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	kind, p := "ADDED", podMetadata(uid)
	f.pods[uid] = p
	if !present {
		kind = "DELETED"
		delete(f.pods, uid)
	}
	line, err := json.Marshal(map[string]any{"type": kind, "object": p})
	if err != nil {
		t.Fatal(err)
	}
	for w := range f.watches {
		w <- append(line, '\n')
	}
}

func (f *fakeAPI) serveNode(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	reply(w, http.StatusOK, map[string]any{
		"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": "here", "annotations": f.node},
		"status": map[string]any{"nodeInfo": map[string]any{"containerRuntimeVersion": "containerd://2.2.0"}},
	})
}

func (f *fakeAPI) patchNode(w http.ResponseWriter, r *http.Request) {
	var patch struct {
		Metadata struct {
			Annotations map[string]*string `json:"annotations"`
		} `json:"metadata"`
	}
	if err := json.NewDecoder(r.Body).Decode(&patch); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	for key, value := range patch.Metadata.Annotations {
		if delete(f.node, key); value != nil {
			f.node[key] = *value
		}
	}
	f.mu.Unlock()
	f.serveNode(w, r)
}

func (f *fakeAPI) postEvent(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var event struct {
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	f.events[event.Reason]++
	f.mu.Unlock()
	if err == nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(body)
	}
}

func (f *fakeAPI) annotation(t *testing.T) contract.Node {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := contract.ParseNode(f.node[contract.AnnotationNode])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (f *fakeAPI) reported(reason string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.events[reason]
}

func hang(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func reply(w http.ResponseWriter, status int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(object)
}
