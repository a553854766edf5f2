// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/test/cluster/pki"
)

// testWebhook has the API server call a pod by the name of its Service, though no Service's address leads anywhere there.
func (h harness) testWebhook(t *testing.T) {
	dir := t.TempDir()
	authority, err := pki.NewAuthority(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := authority.Issue(pki.Identity{Name: "hook", DNSNames: []string{"hook.default.svc"}}); err != nil {
		t.Fatal(err)
	}
	h.kubectl(t, "create", "secret", "tls", "hook", "--cert="+filepath.Join(dir, "hook.crt"), "--key="+filepath.Join(dir, "hook.key"))

	bundle, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	form, err := os.ReadFile("testdata/webhook.yaml")
	if err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(dir, "webhook.yaml")
	text := strings.Replace(string(form), "CA_BUNDLE", base64.StdEncoding.EncodeToString(bundle), 1)
	if err := os.WriteFile(manifest, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h.kubectl(t, "apply", "-f", manifest)
	h.kubectl(t, "wait", "--for=condition=Ready", "pod/hook", "--timeout=1m")

	// The API server learns of the configuration and of the endpoint a moment later.
	eventually(t, 20*time.Second, func() string {
		_, err := try(time.Minute, h.kubectlArgs(t, "-n", "hooked", "create", "configmap", "x", "--dry-run=server")...)
		if err == nil {
			return "the webhook was not called"
		}
		if !strings.Contains(err.Error(), "refused by the probe") {
			return err.Error()
		}
		return ""
	})
}
