// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

const bare = `
apiVersion: v1
kind: Pod
metadata:
  name: NAME
  namespace: NAMESPACE
  annotations: ANNOTATIONS
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: app, image: APP, command: [app, sleep]}
`

func barePod(name, namespace, annotations string) string {
	return strings.NewReplacer("NAMESPACE", namespace, "NAME", name, "ANNOTATIONS", annotations).Replace(bare)
}

// TestBadAnnotation holds that a mistyped value is refused when the pod is
// created, with the key, the value and what is allowed.
func TestBadAnnotation(t *testing.T) {
	tests := []struct {
		annotation string
		want       []string
	}{
		{`{shunt.dev/exclude-inbound-ports: "80,http"}`, []string{"shunt.dev/exclude-inbound-ports", `http`, "1 to 65535"}},
		{`{shunt.dev/exclude-outbound-ports: "90-80"}`, []string{"shunt.dev/exclude-outbound-ports", "90-80", "80-90"}},
		{`{traffic.sidecar.istio.io/excludeOutboundIPRanges: "10.0.0.0/33"}`, []string{"traffic.sidecar.istio.io/excludeOutboundIPRanges", "10.0.0.0/33", "10.0.0.0/8"}},
	}
	for _, tt := range tests {
		_, err := command(time.Minute, withImage(barePod("bad", mesh, tt.annotation)), "kubectl", "apply", "-f", "-")
		if err == nil {
			t.Errorf("%s was accepted", tt.annotation)
			kubectl(t, "-n", mesh, "delete", "pod", "bad")
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: refused with %q, which lacks %q", tt.annotation, err, want)
			}
		}
	}
}

// TestWebhookAway holds that pods that have nothing to do with the mesh start
// while no webhook answers, and that labelled ones are refused, not let through
// without a proxy.
func TestWebhookAway(t *testing.T) {
	scale(t, "shunt-webhook", 0)
	defer scale(t, "shunt-webhook", 2)
	apply(t, barePod("while-away", plain, "{}"))
	defer kubectl(t, "-n", plain, "delete", "pod", "while-away")
	kubectl(t, "-n", plain, "wait", "pod", "while-away", "--for=condition=Ready", "--timeout=60s")
	// The API server itself knows that these never get a proxy, and asks nobody.
	for _, spec := range []string{"hostNetwork: true", "os: {name: windows}"} {
		pod := strings.Replace(barePod("never", mesh, "{}"), "spec:\n", "spec:\n  "+spec+"\n", 1)
		if _, err := command(time.Minute, withImage(pod), "kubectl", "create", "--dry-run=server", "-f", "-"); err != nil {
			t.Errorf("a pod with %s needs the webhook: %v", spec, err)
		}
	}
	if _, err := command(time.Minute, withImage(barePod("while-away", mesh, "{}")), "kubectl", "apply", "-f", "-"); err == nil {
		kubectl(t, "-n", mesh, "delete", "pod", "while-away")
		t.Error("a pod of a labelled namespace was created without a proxy while no webhook answered")
	}
}

// scale sets the replicas of a control-plane Deployment and waits until the
// cluster is there.
func scale(t *testing.T, deployment string, replicas int) {
	t.Helper()
	const system = "shunt-system"
	kubectl(t, "-n", system, "scale", "deployment", deployment, "--replicas", map[int]string{0: "0", 2: "2"}[replicas])
	if replicas == 0 {
		kubectl(t, "-n", system, "wait", "pod", "-l", "app.kubernetes.io/name="+deployment, "--for=delete", "--timeout=90s")
		return
	}
	kubectl(t, "-n", system, "rollout", "status", "deployment", deployment, "--timeout=120s")
}
