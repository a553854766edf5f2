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
