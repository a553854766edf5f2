// SPDX-License-Identifier: Apache-2.0

package shuntctl_test

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/shuntmesh/shunt/shuntctl"
	"github.com/shuntmesh/shunt/shuntctl/internal/fakeapi"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"shuntctl": func() {
			os.Exit(shuntctl.Run(context.Background(), os.Args[1:], shuntctl.Streams{Out: os.Stdout, Err: os.Stderr}))
		},
	})
}

// Every script has a cluster of its own at $KUBECONFIG, whose only node holds
// our images, and an empty registry at $REGISTRY.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			api := &fakeapi.Server{Nodes: []any{map[string]any{
				"metadata": map[string]any{"name": "one"},
				"status": map[string]any{"images": []any{
					map[string]any{"names": []any{"shunt.dev/dataplane:0.1.0"}},
					map[string]any{"names": []any{"shunt.dev/controlplane:0.1.0"}},
				}},
			}}}
			if filepath.Base(env.WorkDir) == "script-no-images" {
				api.Nodes = []any{map[string]any{"metadata": map[string]any{"name": "one"}}}
			}
			api.Pods = []any{map[string]any{
				"metadata": map[string]any{"namespace": "shop", "name": "cart-0"},
				"spec":     map[string]any{"initContainers": []any{map[string]any{"name": "shunt-proxy"}}},
				"status":   map[string]any{"phase": "Running"},
			}}
			if filepath.Base(env.WorkDir) == "script-capture" {
				api.Nodes = []any{worker("one"), worker("two")}
			}
			if filepath.Base(env.WorkDir) == "script-explain-injection" {
				api.Objects = shop()
			}
			if filepath.Base(env.WorkDir) == "script-explain-unasked" {
				api.Objects = shop()
				delete(api.Objects, configPath)
			}
			api.Start()
			env.Defer(api.Close)
			reg := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
			env.Defer(reg.Close)
			config := filepath.Join(env.WorkDir, "kubeconfig")
			env.Setenv("KUBECONFIG", config)
			env.Setenv("REGISTRY", strings.TrimPrefix(reg.URL, "http://"))
			return api.WriteKubeconfig(config)
		},
	})
}

// configPath is where the cluster's webhook says what it was told.
const configPath = "/api/v1/namespaces/shunt-system/services/shunt-webhook:15014/proxy/config"

// worker is a node that is ready and holds all images.
func worker(name string) map[string]any {
	return map[string]any{
		"metadata": map[string]any{"name": name},
		"status": map[string]any{
			"conditions": []any{map[string]any{"type": "Ready", "status": "True"}},
			"images":     []any{map[string]any{"names": []any{"shunt.dev/dataplane:0.1.0", "shunt.dev/controlplane:0.1.0", "shunt.dev/node:0.1.0"}}},
		},
	}
}

// shop is a labelled namespace with a pod that has the proxy, one that came
// before the label, and one that opted out.
func shop() map[string]map[string]any {
	pod := func(name string, metadata map[string]any, spec map[string]any) map[string]any {
		metadata["name"], metadata["namespace"] = name, "shop"
		return map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
	}
	app := []any{map[string]any{"name": "app", "image": "app:1"}}
	status := `{"version":"0.1.0","interception":"init","containers":["shunt-init","shunt-proxy"],"volumes":["shunt-proxy"]}`
	return map[string]map[string]any{
		"/api/v1/namespaces/shop": {"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "shop", "labels": map[string]any{"shunt.dev/inject": "enabled"}}},
		"/api/v1/namespaces/shop/pods/web": pod("web", map[string]any{"annotations": map[string]any{"shunt.dev/status": status}}, map[string]any{
			"containers": app, "volumes": []any{map[string]any{"name": "shunt-proxy"}},
			"initContainers": []any{map[string]any{"name": "shunt-init"}, map[string]any{"name": "shunt-proxy"}},
		}),
		"/api/v1/namespaces/plain":            {"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "plain"}},
		"/api/v1/namespaces/plain/pods/never": pod("never", map[string]any{"labels": map[string]any{"app": "never"}}, map[string]any{"containers": app}),
		"/api/v1/namespaces/other":            {"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "other", "labels": map[string]any{"istio-injection": "enabled"}}},
		"/api/v1/namespaces/other/pods/istio": pod("istio", map[string]any{}, map[string]any{"containers": app}),
		// What the webhook was told, and that it is asked about every pod.
		configPath: {"Version": "0.1.0", "IstioCompat": true, "ClassicSidecars": true, "Never": []any{"app=never"}},
		"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/shunt-webhook": {
			"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
			"metadata": map[string]any{"name": "shunt-webhook"}, "webhooks": []any{map[string]any{"name": "all"}},
		},
		"/api/v1/namespaces/shop/pods/early": pod("early", map[string]any{}, map[string]any{"containers": app}),
		"/api/v1/namespaces/shop/pods/out":   pod("out", map[string]any{"labels": map[string]any{"shunt.dev/inject": "disabled"}}, map[string]any{"containers": app}),
	}
}
