// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const istioWorld = `
apiVersion: v1
kind: Namespace
metadata: {name: e2e-istio, labels: {istio-injection: enabled}}
`

// TestIstioCompat puts the overlay over the installation, as somebody does who
// comes from Istio, and takes it away again: Istio's switches count in between,
// and explain-injection says what happens, before and after.
func TestIstioCompat(t *testing.T) {
	apply(t, istioWorld)
	t.Cleanup(func() { kubectl(t, "delete", "namespace", "e2e-istio", "--wait=false") })
	pods := map[string]struct {
		manifest string
		injected bool
	}{
		"namespace labelled": {istioPod("e2e-istio", ""), true},
		"pod labelled":       {istioPod(plain, `labels: {sidecar.istio.io/inject: "true"}`), true},
		"pod opted out":      {istioPod("e2e-istio", `labels: {sidecar.istio.io/inject: "false"}`), false},
		"ours beats theirs":  {istioPod("e2e-istio", `labels: {shunt.dev/inject: disabled, sidecar.istio.io/inject: "true"}`), false},
		"nobody said":        {istioPod(plain, ""), false},
	}
	for name, pod := range pods {
		if wouldBeInjected(t, pod.manifest) {
			t.Errorf("%s: injected without the overlay", name)
		}
	}
	apply(t, barePod("early", "e2e-istio", "{}"))
	explains(t, "DefaultDisabled")

	t.Cleanup(func() { kustomize(t, "../../manifests/base") })
	kustomize(t, "../../manifests/overlays/istio-compat")
	for name, pod := range pods {
		// A replica that ends takes reviews for 5 s more, by what it was told.
		eventually(t, 20*time.Second, func() string {
			if got := wouldBeInjected(t, pod.manifest); got != pod.injected {
				return fmt.Sprintf("%s: injected %v with the overlay, want %v", name, got, pod.injected)
			}
			return ""
		})
	}
	explains(t, "NamespaceEnabled")
}

func istioPod(namespace, metadata string) string {
	return strings.Replace(barePod("istio", namespace, "{}"), "  annotations: {}", "  "+metadata, 1)
}

// wouldBeInjected asks the API server, and so the webhook.
func wouldBeInjected(t *testing.T, manifest string) bool {
	t.Helper()
	out, err := command(time.Minute, withImage(manifest), "kubectl", "create", "--dry-run=server", "-o", "yaml", "-f", "-")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(out, "name: shunt-proxy")
}

// explains holds what is said of a pod that came before the overlay.
func explains(t *testing.T, reason string) {
	t.Helper()
	out, err := command(time.Minute, "", shuntctl, "explain-injection", "early", "-n", "e2e-istio")
	if err != nil || !strings.Contains(out, "no proxy ("+reason+")") || strings.Contains(out, "warning:") {
		t.Errorf("explain-injection: %v, %s; want %s", err, out, reason)
	}
}

// kustomize applies the control plane's manifests, and waits until the webhook
// serves by them.
func kustomize(t *testing.T, folder string) {
	t.Helper()
	kubectl(t, "apply", "--server-side", "--force-conflicts", "-k", folder)
	kubectl(t, "-n", "shunt-system", "rollout", "status", "deployment", "shunt-webhook", "--timeout=120s")
	eventually(t, 30*time.Second, func() string {
		bundles := kubectl(t, "get", "mutatingwebhookconfiguration", "shunt-webhook", "-o", `jsonpath={range .webhooks[*]}{.name}: {.clientConfig.caBundle};{end}`)
		if strings.Contains(bundles, ": ;") {
			return "the webhook has not completed its registration:\n" + bundles
		}
		return ""
	})
}
