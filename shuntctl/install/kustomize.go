// SPDX-License-Identifier: Apache-2.0

package install

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// kustomization is what of kustomize our manifests use: files, folders of the
// same kind, and patches by JSON patch (RFC 6902).
type kustomization struct {
	Resources  []string `json:"resources"`
	Components []string `json:"components"`
	Patches    []patch  `json:"patches"`
}

type patch struct {
	Target struct {
		Kind string `json:"kind"`
		Name string `json:"name"`
	} `json:"target"`
	Patch string `json:"patch"`
}

// build returns the objects of a folder of manifests in the order of its files.
// A component is a folder that is laid over the objects so far.
func build(files fs.FS, dir string, objects []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	var k kustomization
	body, err := fs.ReadFile(files, path.Join(dir, "kustomization.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	if err := yaml.Unmarshal(body, &k); err != nil {
		return nil, fmt.Errorf("parse kustomization of %s: %w", dir, err)
	}
	for _, name := range append(k.Resources, k.Components...) {
		at := path.Join(dir, name)
		if !strings.HasSuffix(name, ".yaml") {
			if objects, err = build(files, at, objects); err != nil {
				return nil, err
			}
			continue
		}
		body, err := fs.ReadFile(files, at)
		if err != nil {
			return nil, fmt.Errorf("read manifest: %w", err)
		}
		some, err := parse(string(body))
		if err != nil {
			return nil, fmt.Errorf("parse manifest %s: %w", at, err)
		}
		objects = append(objects, some...)
	}
	for _, p := range k.Patches {
		if err := p.apply(objects); err != nil {
			return nil, fmt.Errorf("patch %s %s in %s: %w", p.Target.Kind, p.Target.Name, dir, err)
		}
	}
	return objects, nil
}

func (p patch) apply(objects []*unstructured.Unstructured) error {
	steps, err := yaml.YAMLToJSON([]byte(p.Patch))
	if err != nil {
		return err
	}
	decoded, err := jsonpatch.DecodePatch(steps)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if o.GetKind() != p.Target.Kind || o.GetName() != p.Target.Name {
			continue
		}
		before, err := json.Marshal(o.Object)
		if err != nil {
			return err
		}
		after, err := decoded.Apply(before)
		if err != nil {
			return err
		}
		o.Object = nil
		return json.Unmarshal(after, &o.Object)
	}
	return errors.New("there is no such object")
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
