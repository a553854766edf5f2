// SPDX-License-Identifier: Apache-2.0

// Package install puts Shunt's control plane into a cluster and takes it out
// again. What to apply is decided purely, from the embedded manifests; the rest
// talks to the API server through a dynamic client and touches nothing else.
package install

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/manifests"
	"github.com/shuntmesh/shunt/shuntctl/images"
)

// FieldManager owns the fields that an installation sets (server-side apply).
const FieldManager = "shuntctl"

const (
	// managedByLabel tells the objects that shuntctl made from those of kustomize.
	managedByLabel = "app.kubernetes.io/managed-by"
	// nameLabel tells the parts of an installation apart.
	nameLabel = "app.kubernetes.io/name"
)

// Form is what can be chosen about an installation.
type Form struct {
	Registry string // prefix of the images; "" leaves them under their own name
	Capture  string // how pods that are created from now on are captured, one of Captures; "" is the first
	// Node keeps the part on the nodes although Capture doesn't need it: there are
	// pods from before that do.
	Node bool
}

// Render returns the objects of an installation in the order in which they are
// applied.
func Render(f Form) ([]*unstructured.Unstructured, error) {
	dir := "base"
	if byNode(f.Capture) {
		dir = "overlays/" + f.Capture
	}
	objects, err := build(manifests.Files, dir, nil)
	if err == nil && f.Node && !byNode(f.Capture) {
		objects, err = build(manifests.Files, "components/node", objects)
	}
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		labels := o.GetLabels()
		labels[managedByLabel] = FieldManager
		o.SetLabels(labels)
		o.Object = rebase(o.Object, f.Registry).(map[string]any)
	}
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return rank(a) - rank(b) })
	return objects, nil
}

// rank puts the nodes before the webhook, which makes new pods need them.
func rank(o *unstructured.Unstructured) int {
	switch {
	case o.GetKind() == "Namespace":
		return 0
	case onNode(o):
		return 1
	default:
		return 2
	}
}

// onNode tells the objects of the part that runs on every node.
func onNode(o *unstructured.Unstructured) bool {
	return o.GetLabels()[nameLabel] == contract.NodeDaemonSet
}

// Images returns the names of our images that the objects mention, sorted.
func Images(objects []*unstructured.Unstructured, registry string) []string {
	if registry == "" {
		registry = images.DefaultRegistry
	}
	var refs []string
	for _, o := range objects {
		walk(o.Object, func(s string) string {
			if _, ref, found := imageOf(s, registry); found {
				refs = append(refs, ref)
			}
			return s
		})
	}
	slices.Sort(refs)
	return slices.Compact(refs)
}

// YAML returns the objects as one stream of documents.
func YAML(objects []*unstructured.Unstructured) ([]byte, error) {
	var out []byte
	for _, o := range objects {
		doc, err := yaml.Marshal(o.Object)
		if err != nil {
			return nil, fmt.Errorf("print %s: %w", Name(o), err)
		}
		out = append(append(out, "---\n"...), doc...)
	}
	return out, nil
}

// Name returns kubectl's name of an object, such as "deployment.apps/shunt-webhook".
func Name(o *unstructured.Unstructured) string {
	gvk := o.GroupVersionKind()
	kind := strings.ToLower(gvk.Kind)
	if gvk.Group != "" {
		kind += "." + gvk.Group
	}
	return kind + "/" + o.GetName()
}

// rebase replaces our registry in images and in flags that name an image.
func rebase(object map[string]any, registry string) any {
	return walk(object, func(s string) string {
		flag, ref, found := imageOf(s, images.DefaultRegistry)
		if !found {
			return s
		}
		return flag + images.Rebase(ref, registry)
	})
}

// imageOf splits "--image=shunt.dev/dataplane:1" or "shunt.dev/dataplane:1" into
// what stands before the image and the image; found is false for other strings.
// Label keys share our prefix, but have no tag.
func imageOf(s, registry string) (flag, ref string, found bool) {
	ref = s
	if i := strings.Index(s, "="); strings.HasPrefix(s, "--") && i > 0 {
		flag, ref = s[:i+1], s[i+1:]
	}
	name, ours := strings.CutPrefix(ref, strings.TrimSuffix(registry, "/")+"/")
	return flag, ref, ours && strings.Contains(name, ":")
}

// walk returns v with edit applied to every string value below it.
func walk(v any, edit func(string) string) any {
	switch v := v.(type) {
	case string:
		return edit(v)
	case []any:
		for i := range v {
			v[i] = walk(v[i], edit)
		}
	case map[string]any:
		for k := range v {
			v[k] = walk(v[k], edit)
		}
	}
	return v
}
