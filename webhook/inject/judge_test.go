// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook/inject"
)

// Each row also has whatever the rows below it decide by: what stands higher
// decides.
func TestOrderOfTheDecision(t *testing.T) {
	const on, off = contract.InjectEnabled, contract.InjectDisabled
	type input struct {
		pod *corev1.Pod
		ns  *inject.Namespace
		o   *inject.Options
	}
	rows := []struct {
		want inject.Reason
		set  func(input)
	}{
		{inject.HostNetwork, func(i input) { i.pod.Spec.HostNetwork = true }},
		{inject.MirrorPod, func(i input) { i.pod.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }},
		{inject.Windows, func(i input) { i.pod.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }},
		{inject.SystemNamespace, func(i input) { i.ns.Name = "kube-system" }},
		{inject.PodDisabled, func(i input) { i.pod.Labels[contract.LabelInject] = off }},
		{inject.PodEnabled, func(i input) { i.pod.Labels[contract.LabelInject] = on }},
		{inject.PodDisabled, func(i input) { i.pod.Labels[contract.IstioLabelInject] = "false" }},
		{inject.PodEnabled, func(i input) { i.pod.Labels[contract.IstioLabelInject] = "true"; i.o.IstioCompat = true }},
		{inject.NamespaceDisabled, func(i input) { i.ns.Labels[contract.LabelInject] = off }},
		{inject.NamespaceEnabled, func(i input) { i.ns.Labels[contract.LabelInject] = on }},
		{inject.NamespaceDisabled, func(i input) { i.ns.Labels[contract.IstioLabelNamespace] = off; i.o.IstioCompat = true }},
		{inject.NamespaceEnabled, func(i input) { i.ns.Labels[contract.IstioLabelNamespace] = on; i.o.IstioCompat = true }},
		{inject.NeverSelector, func(i input) { i.o.Never = append(i.o.Never, labels.Nothing(), labels.Everything()) }},
		{inject.AlwaysSelector, func(i input) { i.o.Always = append(i.o.Always, labels.Nothing(), labels.Everything()) }},
		{inject.DefaultEnabled, func(i input) { i.o.ByDefault = true }},
		{inject.DefaultDisabled, func(input) {}},
	}
	for first := range rows {
		o := options()
		i := input{pod: simplePod(), ns: &inject.Namespace{Name: "shop", Labels: map[string]string{}}, o: &o}
		i.pod.Labels = map[string]string{}
		for _, row := range slices.Backward(rows[first:]) {
			row.set(i)
		}
		d, err := inject.Decide(i.pod, *i.ns, *i.o)
		if err != nil || d.Reason != rows[first].want || d.Injected() != d.Reason.Injects() {
			t.Errorf("row %d: %s, injected %v, %v; want %s", first, d.Reason, d.Injected(), err, rows[first].want)
		}
	}
}

// Without --istio-compat Istio's words turn nothing on.
func TestIstioTurnsNothingOn(t *testing.T) {
	pod := simplePod()
	pod.Labels = map[string]string{contract.IstioLabelInject: "true"}
	ns := inject.Namespace{Name: "shop", Labels: map[string]string{contract.IstioLabelNamespace: "enabled"}}
	if d, err := inject.Decide(pod, ns, options()); err != nil || d.Reason != inject.DefaultDisabled {
		t.Errorf("Decide = %s, %v, want %s", d.Reason, err, inject.DefaultDisabled)
	}
}

func TestReasons(t *testing.T) {
	word := regexp.MustCompile(`^([A-Z][a-z]+){2,4}$|^Windows$`)
	seen := make(map[inject.Reason]bool)
	for _, r := range inject.Reasons() {
		if !word.MatchString(string(r)) || seen[r] {
			t.Errorf("%s is no word of its own", r)
		}
		seen[r] = true
		if words := r.Words(); len(words) < 20 || !strings.Contains(words, "pod") {
			t.Errorf("%s: words %q say too little", r, words)
		}
	}
	if unknown := inject.Reason("NoSuchReason"); unknown.Words() != string(unknown) || unknown.Injects() {
		t.Errorf("unknown reason: %q, injects %v", unknown.Words(), unknown.Injects())
	}
}
