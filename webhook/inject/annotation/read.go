// SPDX-License-Identifier: Apache-2.0

package annotation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/shuntmesh/shunt/internal/contract"
)

// Level is one place in which annotations are read.
type Level struct {
	Of          string // whose they are, for messages: "namespace shop"; "" is the pod's
	Annotations map[string]string
}

// Read returns what holds for a pod, from the levels in the order from far to
// near: the namespace's, then the pod's. At each level our own key beats its
// alias, and the nearest level that says something decides; lists can add to
// what was said farther away. Warnings name what was understood and is not
// applied, because it has no meaning here.
func Read(levels ...Level) (Settings, []string, error) {
	s := defaults()
	var (
		rows     []row
		warnings []string
	)
	for _, g := range s.table() {
		rows = append(rows, g.rows...)
	}
	for _, l := range levels {
		said, warns, err := l.open(rows)
		if err != nil {
			return Settings{}, nil, err
		}
		warnings = append(warnings, warns...)
		for _, r := range rows {
			if err := r.read(said); err != nil {
				return Settings{}, nil, fmt.Errorf("read annotation %w", err)
			}
		}
	}
	return s, warnings, s.contradiction()
}

// contradiction tells of a request beyond its limit, which the API server would
// refuse in its own words.
func (s *Settings) contradiction() error {
	for _, r := range []struct {
		request, limit *resource.Quantity
		key, limitKey  string
	}{
		{s.Requests.CPU, s.Limits.CPU, contract.AnnotationProxyCPURequest, contract.AnnotationProxyCPULimit},
		{s.Requests.Memory, s.Limits.Memory, contract.AnnotationProxyMemoryRequest, contract.AnnotationProxyMemoryLimit},
	} {
		if r.request != nil && r.limit != nil && r.request.Cmp(*r.limit) > 0 {
			return fmt.Errorf("read annotation %s: %q is more than the limit (allowed: at most %s, by %s)", r.key, r.request, r.limit, r.limitKey)
		}
	}
	return nil
}

// said is what a level says, by key, and the fields of Istio's configuration in
// it by "proxy.istio.io/config: <field>".
type said struct {
	of     string
	values map[string]string
	fields map[string]string
}

// read sets what the first of the row's names says.
func (r row) read(s said) error {
	for _, name := range append([]string{r.key}, r.aliases...) {
		value, set := s.values[name]
		if !set {
			value, set = s.fields[name]
		}
		if !set {
			continue
		}
		if err := r.set(value); err != nil {
			return fmt.Errorf("%s%s: %w", name, s.of, err)
		}
		return nil
	}
	return nil
}

// open checks the keys of a level and takes Istio's configuration apart.
func (l Level) open(rows []row) (said, []string, error) {
	s := said{values: l.Annotations}
	if l.Of != "" {
		s.of = " of " + l.Of
	}
	keys := slices.Sorted(maps.Keys(l.Annotations))
	if err := checkKnown(keys, s.of, rows); err != nil {
		return said{}, nil, err
	}
	warnings, err := s.foreign(keys, rows)
	return s, warnings, err
}

// checkKnown refuses keys with our prefix that nothing reads. A slip in
// "exclude-inbound-ports" would otherwise redirect a port that its author
// believes to be excluded.
func checkKnown(keys []string, of string, rows []row) error {
	var names []string
	for _, r := range rows {
		names = append(names, r.key)
	}
	slices.Sort(names)
	others := []string{contract.AnnotationStatus, contract.LabelInject}
	for _, key := range keys {
		if strings.HasPrefix(key, contract.AnnotationPrefix) && !slices.Contains(names, key) && !slices.Contains(others, key) {
			return fmt.Errorf("read annotation %s%s: the key is unknown (did you mean %s? allowed: %s)",
				key, of, nearest(key, names), strings.Join(names, ", "))
		}
	}
	return nil
}
