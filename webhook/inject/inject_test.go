// SPDX-License-Identifier: Apache-2.0

package inject_test

import (
	"encoding/json"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook/inject"
)

func options() inject.Options {
	return inject.Options{
		Image:            "shunt.dev/dataplane:0.1.0",
		PullPolicy:       corev1.PullIfNotPresent,
		DiscoveryAddress: "shunt-discovery.shunt-system.svc:15012",
		DiscoveryCA:      "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n",
		Version:          "0.1.0",
	}
}

// namespace is labelled, as the API server's selectors leave it.
func namespace() inject.Namespace {
	return inject.Namespace{Name: "shop", Labels: map[string]string{contract.LabelInject: contract.InjectEnabled}}
}

// apply returns pod as the API server has it after d.
func apply(t rapid.TB, d inject.Decision, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	out := new(corev1.Pod)
	if err := json.Unmarshal(applyTo(t, d.Patch, toJSON(t, pod)), out); err != nil {
		t.Fatal(err)
	}
	return out
}

func applyTo(t rapid.TB, patch []inject.Operation, object []byte) []byte {
	t.Helper()
	steps, err := jsonpatch.DecodePatch(toJSON(t, append([]inject.Operation{}, patch...)))
	if err != nil {
		t.Fatal(err)
	}
	out, err := steps.Apply(object)
	if err != nil {
		t.Fatalf("apply %s to %s: %v", toJSON(t, patch), object, err)
	}
	return out
}

func toJSON(t rapid.TB, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
