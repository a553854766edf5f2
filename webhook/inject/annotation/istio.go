// SPDX-License-Identifier: Apache-2.0

package annotation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/shuntmesh/shunt/internal/contract"
)

// foreign reads Istio's configuration, and tells of Istio's annotations that no
// row reads. One that would change what is captured is refused: its author
// believes that some traffic is left alone. Anything else gets a warning.
func (s *said) foreign(keys []string, rows []row) ([]string, error) {
	var warnings []string
	for _, key := range keys {
		switch {
		case key == istioConfig:
			warns, err := s.config(rows)
			if err != nil {
				return nil, fmt.Errorf("read annotation %s%s: %w", key, s.of, err)
			}
			warnings = append(warnings, warns...)
		case isAlias(key, rows) || key == contract.IstioLabelInject:
		case strings.HasPrefix(key, istioTraffic):
			return nil, fmt.Errorf("read annotation %s%s: what it asks for is not supported (allowed: %s)",
				key, s.of, strings.Join(aliasesWith(istioTraffic, rows), ", "))
		case ofIstio(key):
			warnings = append(warnings, fmt.Sprintf("annotation %s%s has no meaning for Shunt's proxy and is not applied", key, s.of))
		}
	}
	return warnings, nil
}

// ofIstio reports whether a key tells Istio's sidecar what to do.
func ofIstio(key string) bool {
	domain, _, _ := strings.Cut(key, "/")
	name, found := strings.CutSuffix(domain, ".istio.io")
	return found && slices.Contains([]string{"sidecar", "status.sidecar", "readiness.status.sidecar", "proxy", "inject", "prometheus"}, name) &&
		key != istioSidecar+"status"
}

// config takes Istio's proxy configuration apart. Fields that no row reads are
// about Envoy, and are told.
func (s *said) config(rows []row) ([]string, error) {
	text := s.values[istioConfig]
	var fields map[string]any
	if err := yaml.Unmarshal([]byte(text), &fields); err != nil {
		return nil, notAllowed(text, "a mapping in YAML or JSON, such as holdApplicationUntilProxyStarts: true")
	}
	s.fields = make(map[string]string)
	var warnings []string
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		name := istioConfig + ": " + field
		if isAlias(name, rows) {
			s.fields[name] = fmt.Sprint(fields[field])
			continue
		}
		warnings = append(warnings, fmt.Sprintf("field %s of annotation %s%s has no meaning for Shunt's proxy and is not applied", field, istioConfig, s.of))
	}
	return warnings, nil
}

func isAlias(name string, rows []row) bool {
	return slices.ContainsFunc(rows, func(r row) bool { return slices.Contains(r.aliases, name) })
}

func aliasesWith(prefix string, rows []row) []string {
	var out []string
	for _, r := range rows {
		for _, alias := range r.aliases {
			if strings.HasPrefix(alias, prefix) {
				out = append(out, alias)
			}
		}
	}
	return out
}
