// SPDX-License-Identifier: Apache-2.0

package workload_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	dynamicfake "k8s.io/client-go/dynamic/fake"

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
	client := dynamicfake.NewSimpleDynamicClient(scheme,
		namespace("shop", map[string]string{"shunt.dev/inject": "enabled"}), namespace("other", nil),
		pod("shop", "early", nil), pod("other", "plain", nil),
		pod("shop", "bad", func(p *corev1.Pod) { p.Annotations = map[string]string{"shunt.dev/x": ""} }),
		pod("other", "wish", func(p *corev1.Pod) { p.Annotations = map[string]string{"shunt.dev/inject": "enabled"} }),
	)
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
	} {
		e, err := workload.Explain(t.Context(), client, tt.namespace, tt.pod, options())
		if err != nil || e.Injected || e.Reason != tt.reason || !strings.Contains(e.Message, tt.message) || !strings.Contains(e.Advice, tt.advice) {
			t.Errorf("%s/%s: %+v, %v; want %s, %q, %q", tt.namespace, tt.pod, e, err, tt.reason, tt.message, tt.advice)
		}
	}
}
