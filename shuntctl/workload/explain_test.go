// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	k8stesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/shuntmesh/shunt/shuntctl/workload"
	"github.com/shuntmesh/shunt/webhook/inject"
)

func registration(caBundle any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
		"metadata": map[string]any{"name": "shunt-webhook"},
		"webhooks": []any{
			map[string]any{"name": "a", "clientConfig": map[string]any{}},
			map[string]any{"name": "b", "clientConfig": map[string]any{"caBundle": caBundle}},
		},
	}}
}

func TestCABundle(t *testing.T) {
	scheme := runtime.NewScheme()
	got, err := workload.CABundle(t.Context(), dynamicfake.NewSimpleDynamicClient(scheme, registration("Q0E=")))
	if err != nil || got != "CA" {
		t.Errorf("CABundle = %q, %v", got, err)
	}
	for name, client := range map[string]*dynamicfake.FakeDynamicClient{
		"none":  dynamicfake.NewSimpleDynamicClient(scheme),
		"empty": dynamicfake.NewSimpleDynamicClient(scheme, registration(nil)),
	} {
		if got, err := workload.CABundle(t.Context(), client); err == nil || !strings.Contains(err.Error(), "--discovery-ca") {
			t.Errorf("%s: CABundle = %q, %v; want an error that names --discovery-ca", name, got, err)
		}
	}
}

func TestExplain(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	namespace := func(name string, labels map[string]string) *corev1.Namespace {
		return &corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	}
	pod := func(namespace, name string, change func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		p.Spec.Containers = []corev1.Container{{Name: "app"}}
		if change != nil {
			change(p)
		}
		return p
	}
	objects := []runtime.Object{
		namespace("shop", map[string]string{"shunt.dev/inject": "enabled"}), namespace("other", nil),
		namespace("legacy", map[string]string{"istio-injection": "enabled"}),
		pod("legacy", "istio", nil), pod("legacy", "bad", func(p *corev1.Pod) { p.Annotations = map[string]string{"shunt.dev/x": ""} }),
		pod("other", "chosen", func(p *corev1.Pod) { p.Labels = map[string]string{"app": "always"} }),
		pod("shop", "spared", func(p *corev1.Pod) { p.Labels = map[string]string{"shunt.dev/inject": "disabled"} }),
		pod("shop", "host", func(p *corev1.Pod) { p.Spec.HostNetwork = true }),
		pod("shop", "early", nil), pod("other", "plain", nil),
		pod("shop", "bad", func(p *corev1.Pod) { p.Annotations = map[string]string{"shunt.dev/x": ""} }),
		pod("other", "wish", func(p *corev1.Pod) { p.Annotations = map[string]string{"shunt.dev/inject": "enabled"} }),
	}
	client := dynamicfake.NewSimpleDynamicClient(scheme, append(objects, manifest(t))...)
	told := options()
	told.IstioCompat = true
	told.Always = []labels.Selector{labels.SelectorFromSet(labels.Set{"app": "always"})}
	for _, tt := range []struct {
		namespace, pod string
		reason         inject.Reason
		message        string
		advice         string
	}{
		{"shop", "early", inject.NamespaceEnabled, "would get the proxy if it were created now", "restart its workload"},
		{"other", "plain", inject.DefaultDisabled, "neither the pod nor its namespace", "kubectl label namespace other shunt.dev/inject=enabled"},
		{"shop", "bad", inject.BadAnnotation, "would be refused: read annotation shunt.dev/x", ""},
		{"other", "wish", inject.PodEnabled, "by labels alone", "make it a label"},
		{"legacy", "istio", inject.NamespaceEnabled, "the API server does not ask the webhook about such a pod", "an entry that selects it"},
		{"legacy", "bad", inject.BadAnnotation, "does not ask the webhook about such a pod, since no entry of its registration selects the labels; if it did, the pod would be refused", "label the pod"},
		{"other", "chosen", inject.AlwaysSelector, "does not ask the webhook", "label the pod"},
		{"shop", "spared", inject.PodDisabled, "the pod says shunt.dev/inject: disabled", ""},
		{"shop", "host", inject.HostNetwork, "the node's network", ""},
	} {
		e, err := workload.Explain(t.Context(), client, tt.namespace, tt.pod, told)
		if err != nil || e.Injected || e.Reason != tt.reason || !strings.Contains(e.Message, tt.message) || !strings.Contains(e.Advice, tt.advice) {
			t.Errorf("%s/%s: %+v, %v; want %s, %q, %q", tt.namespace, tt.pod, e, err, tt.reason, tt.message, tt.advice)
		}
	}
	alone := dynamicfake.NewSimpleDynamicClient(scheme, objects...)
	if e, err := workload.Explain(t.Context(), alone, "shop", "early", told); err != nil || !strings.Contains(e.Message, "the webhook is not registered") || !strings.Contains(e.Advice, "shuntctl install") {
		t.Errorf("without a registration: %+v, %v", e, err)
	}
	denied := dynamicfake.NewSimpleDynamicClient(scheme, objects...)
	denied.PrependReactor("get", "mutatingwebhookconfigurations", func(k8stesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("forbidden")
	})
	if e, err := workload.Explain(t.Context(), denied, "shop", "early", told); err != nil || len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], "could not be read: forbidden") {
		t.Errorf("a registration that may not be read: %+v, %v", e, err)
	}
}

// manifest is the registration that is installed.
func manifest(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile("../../manifests/base/admission.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(text, &out.Object); err != nil {
		t.Fatal(err)
	}
	return out
}
