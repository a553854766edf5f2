// SPDX-License-Identifier: Apache-2.0

// Package install puts Shunt's control plane into a cluster and takes it out
// again. What to apply is decided purely, from the embedded manifests; the rest
// talks to the API server through a dynamic client and touches nothing else.
package install

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/shuntmesh/shunt/manifests"
	"github.com/shuntmesh/shunt/shuntctl/images"
)

// FieldManager owns the fields that an installation sets (server-side apply).
const FieldManager = "shuntctl"

// managedByLabel tells the objects that shuntctl made from those of kustomize.
const managedByLabel = "app.kubernetes.io/managed-by"

// Render returns the objects of an installation in the order in which they are
// applied. Images get the registry as prefix; "" leaves them under their own
// name.
func Render(registry string) ([]*unstructured.Unstructured, error) {
	objects, err := load(manifests.Base)
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		labels := o.GetLabels()
		labels[managedByLabel] = FieldManager
		o.SetLabels(labels)
		o.Object = rebase(o.Object, registry).(map[string]any)
	}
	return objects, nil
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

// load reads the kustomize base in the order of its resources.
func load(base fs.FS) ([]*unstructured.Unstructured, error) {
	body, err := fs.ReadFile(base, "base/kustomization.yaml")
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	var kustomization struct {
		Resources []string `json:"resources"`
	}
	if err := yaml.Unmarshal(body, &kustomization); err != nil {
		return nil, fmt.Errorf("parse kustomization: %w", err)
	}
	var objects []*unstructured.Unstructured
	for _, name := range kustomization.Resources {
		body, err := fs.ReadFile(base, "base/"+name)
		if err != nil {
			return nil, fmt.Errorf("read manifest: %w", err)
		}
		some, err := parse(string(body))
		if err != nil {
			return nil, fmt.Errorf("parse manifest %s: %w", name, err)
		}
		objects = append(objects, some...)
	}
	return objects, nil
}

func parse(stream string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for doc := range strings.SplitSeq(stream, "\n---\n") {
		object := map[string]any{}
		if err := yaml.Unmarshal([]byte(doc), &object); err != nil {
			return nil, err
		}
		u := &unstructured.Unstructured{Object: object}
		if u.GetKind() == "" || u.GetName() == "" || len(u.GetLabels()) == 0 {
			return nil, errors.New("a document lacks kind, name or labels")
		}
		objects = append(objects, u)
	}
	return objects, nil
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
