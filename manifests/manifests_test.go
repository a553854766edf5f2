// SPDX-License-Identifier: Apache-2.0

package manifests_test

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/shuntmesh/shunt/manifests"
)

// The webhook's tests prove which pods its registration sends to it; they prove
// it of what is installed only when the two are the same.
func TestAdmissionIsTheOneThatTheWebhookTests(t *testing.T) {
	installed, err := manifests.Files.ReadFile("base/admission.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tested, err := os.ReadFile("../webhook/testdata/webhook.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(webhooks(t, tested), webhooks(t, installed)); diff != "" {
		t.Errorf("webhook/testdata/webhook.yaml and base/admission.yaml differ (-tested +installed):\n%s", diff)
	}
}

func webhooks(t *testing.T, text []byte) any {
	t.Helper()
	var o map[string]any
	if err := yaml.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	if o["webhooks"] == nil {
		t.Fatal("a file without webhooks")
	}
	return o["webhooks"]
}
