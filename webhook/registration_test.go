// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook"
)

func readRegistration(t *testing.T) *admissionregistrationv1.MutatingWebhookConfiguration {
	t.Helper()
	text, err := os.ReadFile("testdata/webhook.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := new(admissionregistrationv1.MutatingWebhookConfiguration)
	if err := yaml.UnmarshalStrict(text, c); err != nil {
		t.Fatal(err)
	}
	return c
}

// called returns the names of the entries that the API server calls for a pod.
func called(t *testing.T, c *admissionregistrationv1.MutatingWebhookConfiguration, namespace, pod map[string]string) []string {
	t.Helper()
	var names []string
	for _, w := range c.Webhooks {
		if matches(t, w.NamespaceSelector, namespace) && matches(t, w.ObjectSelector, pod) {
			names = append(names, w.Name)
		}
	}
	return names
}

func matches(t *testing.T, selector *metav1.LabelSelector, set map[string]string) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(labels.Set(set))
}

// The pod's label beats the namespace's, and no pod is sent to both entries.
// "other" on a pod of a labelled namespace is sent: it is refused there.
func TestWhoIsCalled(t *testing.T) {
	const byNamespace, byPod, nobody = "namespace.webhook.shunt.dev", "pod.webhook.shunt.dev", ""
	values := []string{"enabled", "disabled", "", "other"} // "" is no label
	want := map[string][]string{                           // namespace's value -> the entry for each of values on the pod
		"enabled":  {byNamespace, nobody, byNamespace, byNamespace},
		"disabled": {byPod, nobody, nobody, nobody},
		"":         {byPod, nobody, nobody, nobody},
		"other":    {byPod, nobody, nobody, nobody},
	}
	c := readRegistration(t)
	for _, ns := range values {
		for i, pod := range values {
			var expected []string
			if want[ns][i] != nobody {
				expected = []string{want[ns][i]}
			}
			if got := called(t, c, labelled("shop", ns), labelled("", pod)); !slices.Equal(got, expected) {
				t.Errorf("namespace %q, pod %q: called %v, want %v", ns, pod, got, expected)
			}
			for _, system := range contract.SystemNamespaces() {
				if got := called(t, c, labelled(system, ns), labelled("", pod)); got != nil {
					t.Errorf("%s %q, pod %q: called %v, want nobody", system, ns, pod, got)
				}
			}
		}
	}
}

func labelled(name, value string) map[string]string {
	set := map[string]string{"app": "web"}
	if name != "" {
		set["kubernetes.io/metadata.name"] = name // set by the API server on every namespace
	}
	if value != "" {
		set[contract.LabelInject] = value
	}
	return set
}

func TestRegistration(t *testing.T) {
	c := readRegistration(t)
	if c.Name != contract.WebhookService || len(c.Webhooks) != 2 {
		t.Fatalf("%q has %d entries", c.Name, len(c.Webhooks))
	}
	scope := admissionregistrationv1.NamespacedScope
	want := admissionregistrationv1.MutatingWebhook{
		ClientConfig: admissionregistrationv1.WebhookClientConfig{Service: &admissionregistrationv1.ServiceReference{
			Namespace: contract.SystemNamespace, Name: contract.WebhookService, Port: new(int32(443)),
		}},
		Rules: []admissionregistrationv1.RuleWithOperations{{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}, Scope: &scope},
		}},
		MatchConditions: []admissionregistrationv1.MatchCondition{ // the end-to-end tests hold what they mean
			{Name: "not-on-the-nodes-network", Expression: "!has(object.spec.hostNetwork) || !object.spec.hostNetwork"},
			{Name: "not-a-static-pods-mirror", Expression: "!has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)"},
			{Name: "not-on-windows", Expression: "!has(object.spec.os) || object.spec.os.name != 'windows'"},
		},
		FailurePolicy:           new(admissionregistrationv1.Fail),
		MatchPolicy:             new(admissionregistrationv1.Equivalent),
		SideEffects:             new(admissionregistrationv1.SideEffectClassNoneOnDryRun),
		ReinvocationPolicy:      new(admissionregistrationv1.IfNeededReinvocationPolicy),
		TimeoutSeconds:          new(int32(5)),
		AdmissionReviewVersions: []string{"v1"},
	}
	paths := []string{webhook.NamespacePath, webhook.Path}
	for i, got := range c.Webhooks {
		want.ClientConfig.Service.Path = &paths[i]
		got.Name, got.NamespaceSelector, got.ObjectSelector = "", nil, nil
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("entry (-want +got):\n%s", diff)
		}
	}
}
