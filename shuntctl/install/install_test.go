// SPDX-License-Identifier: Apache-2.0

package install_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/shuntmesh/shunt/shuntctl/images"
	"github.com/shuntmesh/shunt/shuntctl/install"
	"github.com/shuntmesh/shunt/shuntctl/internal/fakeapi"
)

const admissionPath = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/shunt-webhook"

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// net/http keeps idle connections for the next request.
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

func newCluster(t *testing.T, s *fakeapi.Server) *install.Cluster {
	t.Helper()
	s.Start()
	t.Cleanup(s.Close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := s.WriteKubeconfig(path); err != nil {
		t.Fatal(err)
	}
	c, err := install.Connect(path, "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func quiet(skip bool) install.Options {
	return install.Options{SkipImageCheck: skip, Progress: func(string) {}}
}

func node(name string, images ...any) map[string]any {
	return map[string]any{
		"metadata": map[string]any{"name": name},
		"status":   map[string]any{"images": []any{map[string]any{"names": images}}},
	}
}

func TestInstallAppliesInOrderAndAgainChangesNothing(t *testing.T) {
	s := &fakeapi.Server{Nodes: []any{node("a", "shunt.dev/dataplane:0.1.0", "shunt.dev/controlplane:0.1.0")}}
	c := newCluster(t, s)
	first, err := c.Install(t.Context(), quiet(false))
	if err != nil {
		t.Fatal(err)
	}
	if s.Log[0] != "APPLY /api/v1/namespaces/shunt-system" || s.Log[len(s.Log)-1] != "APPLY "+admissionPath {
		t.Errorf("the namespace has to be first and the webhook configuration last, got:\n%s", strings.Join(s.Log, "\n"))
	}
	for _, ch := range first.Changes {
		if ch.Action != "created" {
			t.Errorf("first install: %s %s, want created", ch.Object, ch.Action)
		}
	}
	before := s.Object(admissionPath)
	second, err := c.Install(t.Context(), quiet(false))
	if err != nil {
		t.Fatal(err)
	}
	for _, ch := range second.Changes {
		if ch.Action != "unchanged" {
			t.Errorf("second install: %s %s, want unchanged", ch.Object, ch.Action)
		}
	}
	if diff := cmp.Diff(before, s.Object(admissionPath)); diff != "" {
		t.Errorf("the second install changed the webhook configuration (-before +after):\n%s", diff)
	}
}

func TestUninstallRemovesAllAndAgainIsNoError(t *testing.T) {
	s := &fakeapi.Server{}
	c := newCluster(t, s)
	if _, err := c.Install(t.Context(), quiet(true)); err != nil {
		t.Fatal(err)
	}
	s.Log = nil
	if _, err := c.Uninstall(t.Context(), quiet(false)); err != nil {
		t.Fatal(err)
	}
	if left := s.Paths(); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if s.Log[0] != "DELETE "+admissionPath || s.Log[len(s.Log)-1] != "DELETE /api/v1/namespaces/shunt-system" {
		t.Errorf("the webhook configuration has to go first and the namespace last, got:\n%s", strings.Join(s.Log, "\n"))
	}
	again, err := c.Uninstall(t.Context(), quiet(false))
	if err != nil {
		t.Fatal(err)
	}
	for _, ch := range again.Changes {
		if ch.Action != "absent" {
			t.Errorf("second uninstall: %s %s, want absent", ch.Object, ch.Action)
		}
	}
}

func TestInstallRefuses(t *testing.T) {
	tests := []struct {
		name   string
		server *fakeapi.Server
		want   []string
	}{
		{"old cluster", &fakeapi.Server{Minor: "28+"}, []string{"v1.28+.0", "needs 1.29"}},
		{"no permission", &fakeapi.Server{Denied: "clusterroles"}, []string{"may not", "create clusterroles.rbac.authorization.k8s.io", "administrator"}},
		{
			"nodes without images",
			&fakeapi.Server{Nodes: []any{
				node("full", "shunt.dev/dataplane:0.1.0", "shunt.dev/controlplane:0.1.0"),
				node("half", "shunt.dev/dataplane:0.1.0"),
			}},
			[]string{"node half has no shunt.dev/controlplane:0.1.0\n", "images save", "images push"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t, tt.server)
			_, err := c.Install(t.Context(), quiet(false))
			if err == nil {
				t.Fatal("installed")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "node full") {
				t.Errorf("error names a node that holds all: %v", err)
			}
			if len(tt.server.Log) != 0 {
				t.Errorf("a refused install wrote: %v", tt.server.Log)
			}
		})
	}
}

func TestInstallSaysWhatItWaitsFor(t *testing.T) {
	c := newCluster(t, &fakeapi.Server{Idle: true, Pods: []any{map[string]any{
		"metadata": map[string]any{"namespace": "shunt-system", "name": "shunt-discovery-1"},
		"status": map[string]any{"containerStatuses": []any{map[string]any{
			"state": map[string]any{"waiting": map[string]any{"reason": "ErrImagePull", "message": "no such host"}},
		}}},
	}}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := c.Install(ctx, quiet(true))
	if err == nil || !strings.Contains(err.Error(), "deployment.apps/shunt-discovery") || !strings.Contains(err.Error(), "0 of 2 replicas") ||
		!strings.Contains(err.Error(), "pod shunt-discovery-1: ErrImagePull: no such host") {
		t.Errorf("error = %v, want the Deployment and what it lacks", err)
	}
}

func TestInstallWithRegistryThatIsAway(t *testing.T) {
	c := newCluster(t, &fakeapi.Server{})
	o := quiet(false)
	var steps []string
	o.Progress = func(s string) { steps = append(steps, s) }
	o.Registry = images.Remote{Registry: "127.0.0.1:1/mesh"}
	if _, err := c.Install(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(steps, "\n"); !strings.Contains(all, "can't see from here") {
		t.Errorf("steps don't tell that the registry was not reached:\n%s", all)
	}
}
