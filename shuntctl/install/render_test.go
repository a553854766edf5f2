// SPDX-License-Identifier: Apache-2.0

package install_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/shuntctl/images"
	"github.com/shuntmesh/shunt/shuntctl/install"
)

func TestRenderGolden(t *testing.T) {
	for name, form := range map[string]install.Form{
		"default":   {},
		"registry":  {Registry: "r.example.com:5000/mesh"},
		"cni":       {Capture: contract.InterceptionCNI},
		"ebpf":      {Capture: install.CaptureEBPF},
		"init-node": {Capture: contract.InterceptionInit, Node: true},
	} {
		objects, err := install.Render(form)
		if err != nil {
			t.Fatal(err)
		}
		got, err := install.YAML(objects)
		if err != nil {
			t.Fatal(err)
		}
		golden := "testdata/" + name + ".yaml"
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got; write anew with -update):\n%s", golden, diff)
		}
	}
}

var update = flag.Bool("update", false, "write golden files")

// The manifests write image names out, so that kubectl can apply them as they
// are; they have to agree with the release that the binaries know.
func TestRenderNamesOurRelease(t *testing.T) {
	for _, registry := range []string{"", "r.example.com:5000/mesh"} {
		objects, err := install.Render(install.Form{Registry: registry, Capture: contract.InterceptionCNI})
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, s := range images.Product() {
			want = append(want, s.Ref(registry))
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, install.Images(objects, registry)); diff != "" {
			t.Errorf("images with registry %q (-want +got):\n%s", registry, diff)
		}
	}
}

func TestRenderLeavesCABundleOut(t *testing.T) {
	objects, err := install.Render(install.Form{Capture: contract.InterceptionCNI})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		entries, _ := o.Object["webhooks"].([]any)
		for _, e := range entries {
			if _, has := e.(map[string]any)["clientConfig"].(map[string]any)["caBundle"]; has {
				t.Error("an apply would overwrite the caBundle that the webhook wrote")
			}
		}
		if ns := o.GetNamespace(); ns != "" && ns != contract.SystemNamespace {
			t.Errorf("%s is in namespace %s: uninstall would leave it", install.Name(o), ns)
		}
	}
}

func TestFindMissing(t *testing.T) {
	refs := []string{"shunt.dev/a:1", "shunt.dev/b:1"}
	full := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "full"}, Status: corev1.NodeStatus{Images: []corev1.ContainerImage{
		{Names: []string{"shunt.dev/a@sha256:00", "shunt.dev/a:1"}}, {Names: []string{"shunt.dev/b:1"}},
	}}}
	empty := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "empty"}}
	cordoned := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cordoned"}, Spec: corev1.NodeSpec{Unschedulable: true}}
	tainted := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "tainted"}, Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Effect: corev1.TaintEffectNoSchedule}}}}
	capped := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "capped"}}
	for i := range 50 {
		capped.Status.Images = append(capped.Status.Images, corev1.ContainerImage{Names: []string{fmt.Sprint("i", i)}})
	}
	got := install.FindMissing([]corev1.Node{full, empty, cordoned, tainted, capped}, install.Needs{Schedulable: refs, Every: refs[1:]})
	want := []install.MissingImages{
		{Node: "empty", Images: refs},
		{Node: "cordoned", Images: refs[1:]},
		{Node: "tainted", Images: refs[1:]},
		{Node: "capped", Images: refs, Capped: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("FindMissing (-want +got):\n%s", diff)
	}
}

func TestFindLeftovers(t *testing.T) {
	pod := func(ns, name, ownerKind, owner, hash string, phase corev1.PodPhase, sidecar bool) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Status: corev1.PodStatus{Phase: phase}}
		if hash != "" {
			p.Labels = map[string]string{"pod-template-hash": hash}
		}
		if owner != "" {
			controller := true
			p.OwnerReferences = []metav1.OwnerReference{{Kind: ownerKind, Name: owner, Controller: &controller}}
		}
		if sidecar {
			p.Spec.InitContainers = []corev1.Container{{Name: contract.ProxyContainer}}
		}
		return p
	}
	got := install.FindLeftovers([]corev1.Pod{
		pod("b", "web-6f-1", "ReplicaSet", "web-6f", "6f", corev1.PodRunning, true),
		pod("b", "web-6f-2", "ReplicaSet", "web-6f", "6f", corev1.PodRunning, true),
		pod("b", "plain", "ReplicaSet", "plain-1", "1", corev1.PodRunning, false),
		pod("a", "db-0", "StatefulSet", "db", "", corev1.PodPending, true),
		pod("a", "done", "Job", "done", "", corev1.PodSucceeded, true),
		pod("a", "alone", "", "", "", corev1.PodRunning, true),
	})
	want := []install.Leftover{
		{Namespace: "a", Kind: "Pod", Name: "alone", Pods: 1},
		{Namespace: "a", Kind: "StatefulSet", Name: "db", Pods: 1},
		{Namespace: "b", Kind: "Deployment", Name: "web", Pods: 2},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("FindLeftovers (-want +got):\n%s", diff)
	}
	if got := want[2].Restart(); got != "kubectl -n b rollout restart deployment/web" {
		t.Errorf("Restart() = %q", got)
	}
}
