// SPDX-License-Identifier: Apache-2.0

package annotation

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/shuntmesh/shunt/internal/contract"
)

// maxEnv bounds the variables that an annotation adds.
const maxEnv = 64

// environment reads a mapping from names to texts, in JSON or YAML, and returns
// it in the order of the names.
func environment(text string) ([]corev1.EnvVar, error) {
	const allowed = `a mapping of at most 64 names to texts in JSON or YAML, such as {"GODEBUG": "gctrace=1"}`
	var variables map[string]string
	if err := yaml.UnmarshalStrict([]byte(text), &variables); err != nil || len(variables) == 0 || len(variables) > maxEnv {
		return nil, notAllowed(text, allowed)
	}
	var out []corev1.EnvVar
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		switch {
		case !isEnvName(name):
			return nil, notAllowed(name, "names of letters, digits and _, with no digit in front")
		case slices.Contains(contract.ProxyEnv(), name):
			return nil, notAllowed(name, "variables other than the mesh's own: "+strings.Join(contract.ProxyEnv(), ", "))
		case strings.ContainsRune(variables[name], 0):
			return nil, notAllowed(variables[name], "texts without the character 0, which ends a variable")
		}
		out = append(out, corev1.EnvVar{Name: name, Value: variables[name]})
	}
	return out, nil
}

func isEnvName(name string) bool {
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}
