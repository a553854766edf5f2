// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect/flags"
	"github.com/shuntmesh/shunt/webhook/inject"
)

// Where the node captures, whatever pod comes gets containers that need no
// privilege (Pod Security "restricted", Kubernetes 1.34), the one that waits
// before all others, and in its status what the node is to do: the flags that
// the one that waits proves, and those that an init container would be given.
func TestNodeCaptureNeedsNoPrivilege(t *testing.T) {
	captured := 0
	for _, e := range examples(t) {
		e.options.Interception = contract.InterceptionInit
		byInit, err := inject.Decide(e.pod, e.namespace, e.options)
		if err != nil || !byInit.Injected() {
			continue
		}
		e.options.Interception = contract.InterceptionCNI
		d, err := inject.Decide(e.pod, e.namespace, e.options)
		if err != nil {
			t.Errorf("%s: %v, and nothing when an init container captures", e.name, err)
			continue
		}
		out := apply(t, d, e.pod)
		c, err := contract.ParseCapture(out.Annotations[contract.AnnotationStatus])
		if err != nil {
			t.Errorf("%s: %v", e.name, err)
		}
		for _, ours := range oursOf(out) {
			if wrong := unrestricted(ours); len(wrong) > 0 && !strings.HasPrefix(e.name, "own-proxy") {
				t.Errorf("%s: container %s is not restricted: %v", e.name, ours.Name, wrong)
			}
		}
		flags := initCommand(apply(t, byInit, e.pod))
		if flags == nil {
			if c.Interception != contract.InterceptionNone || c.Redirect != nil || out.Spec.InitContainers != nil && out.Spec.InitContainers[0].Name == contract.ValidateContainer {
				t.Errorf("%s: interception none became %+v", e.name, c)
			}
			continue
		}
		captured++
		if diff := cmp.Diff(contract.Capture{Interception: contract.InterceptionCNI, Redirect: flags[2:]}, c); diff != "" {
			t.Errorf("%s: status (-want +got):\n%s", e.name, diff)
		}
		first := out.Spec.InitContainers[0]
		if want := append([]string{"redirect", "validate"}, flags[2:]...); first.Name != contract.ValidateContainer || !slices.Equal(first.Command, want) {
			t.Errorf("%s: the first container is %s with %q", e.name, first.Name, first.Command)
		}
	}
	if captured < 60 {
		t.Errorf("%d pods were captured, want at least 60", captured)
	}
}

// What the node is told, it takes: flags that the plugin refuses would keep a pod
// from starting, with nothing in the pod to say why.
func TestNodeTakesTheFlags(t *testing.T) {
	for _, e := range examples(t) {
		e.options.Interception = contract.InterceptionCNI
		d, err := inject.Decide(e.pod, e.namespace, e.options)
		if err != nil || !d.Injected() {
			continue
		}
		c, err := contract.ParseCapture(apply(t, d, e.pod).Annotations[contract.AnnotationStatus])
		if err != nil || c.Interception == contract.InterceptionNone {
			continue
		}
		parsed, err := flags.Parse(c.Redirect)
		if err == nil {
			err = parsed.Config.Validate()
		}
		if err != nil {
			t.Errorf("%s: %q: %v", e.name, c.Redirect, err)
		}
	}
}

func oursOf(pod *corev1.Pod) (ours []corev1.Container) {
	for _, c := range append(slices.Clone(pod.Spec.InitContainers), pod.Spec.Containers...) {
		if strings.HasPrefix(c.Name, "shunt-") {
			ours = append(ours, c)
		}
	}
	return ours
}

// unrestricted names what of a container Pod Security "restricted" refuses.
func unrestricted(c corev1.Container) (wrong []string) {
	s := c.SecurityContext
	if s == nil {
		return []string{"no securityContext"}
	}
	say := func(bad bool, what string) {
		if bad {
			wrong = append(wrong, what)
		}
	}
	say(s.Capabilities == nil || len(s.Capabilities.Add) > 0 || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}), "capabilities")
	say(s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation, "allowPrivilegeEscalation")
	say(s.Privileged != nil && *s.Privileged, "privileged")
	say(s.RunAsNonRoot == nil || !*s.RunAsNonRoot, "runAsNonRoot")
	say(s.RunAsUser == nil || *s.RunAsUser == 0, "runAsUser")
	say(s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault, "seccompProfile")
	say(s.ProcMount != nil, "procMount")
	return wrong
}
