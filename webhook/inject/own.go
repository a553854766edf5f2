// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"encoding/json"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook/inject/annotation"
)

// imageAuto as the image of a user's own proxy container means ours: a pod
// template can't do without an image.
const imageAuto = "auto"

// Own is a user's own container with the proxy's name. What it says beats what
// we would say, field by field.
type Own struct {
	List      string         `json:"list"`
	Index     int            `json:"index"`
	Container map[string]any `json:"container"` // as it was written, but for fields that our types don't know

	container corev1.Container
}

// findOwn returns the pod's own proxy container, or nil.
func findOwn(pod *corev1.Pod, f form) (*Own, error) {
	var found *Own
	for _, l := range listsOf(pod) {
		for i, c := range l.containers {
			if c.Name != contract.ProxyContainer {
				continue
			}
			if found != nil {
				return nil, refuse(TakenName, "merge container: the pod has two containers named %q (allowed: one, whose fields are merged with the proxy's)", c.Name)
			}
			found = &Own{List: l.name, Index: i, container: c}
		}
	}
	switch {
	case found == nil:
		return nil, nil
	case found.List == listContainers && len(pod.Spec.Containers) == 1:
		return nil, refuse(TakenName, "merge container: the pod's only container is named %q, which is the proxy's name (rename it, or add the application's container)", contract.ProxyContainer)
	}
	var err error
	if found.Container, err = tree(found.container); err != nil {
		return nil, err
	}
	return found, found.check(f)
}

// check refuses what would keep the proxy from being one.
func (o *Own) check(f form) error {
	where := fmt.Sprintf("spec.%s[%s]", o.List, contract.ProxyContainer)
	if !f.native && o.List == listInit {
		return refuse(TakenName, "merge container: %s is an init container, and this pod gets the proxy as an ordinary one (allowed: the same under spec.containers)", where)
	}
	if sc := o.container.SecurityContext; sc != nil {
		for _, id := range []struct {
			field string
			value *int64
		}{{"runAsUser", sc.RunAsUser}, {"runAsGroup", sc.RunAsGroup}} {
			if id.value != nil && *id.value != contract.ProxyUID {
				return refuse(ProxyUser, "merge container: %s.securityContext.%s is %d (allowed: %d or nothing; the redirection knows the proxy's traffic by it)",
					where, id.field, *id.value, contract.ProxyUID)
			}
		}
	}
	if p := o.container.RestartPolicy; p != nil && (!f.native || *p != corev1.ContainerRestartPolicyAlways) {
		return refuse(TakenName, "merge container: %s.restartPolicy is %q (allowed: nothing, or Always for a native sidecar)", where, *p)
	}
	return nil
}

// prefer puts the user's resources in the place of the annotations', so that
// the defaults fit them.
func (o *Own) prefer(requests, limits *annotation.Resources) {
	for _, p := range []struct {
		to   *annotation.Resources
		from corev1.ResourceList
	}{{requests, o.container.Resources.Requests}, {limits, o.container.Resources.Limits}} {
		if q, set := p.from[corev1.ResourceCPU]; set {
			p.to.CPU = &q
		}
		if q, set := p.from[corev1.ResourceMemory]; set {
			p.to.Memory = &q
		}
	}
}

// fill returns the steps that give the user's container, which stands at path,
// every field of ours that it leaves open.
func (o *Own) fill(path string, ours corev1.Container) ([]Operation, error) {
	theirs := maps.Clone(o.Container)
	wanted, err := tree(ours)
	if err != nil {
		return nil, err
	}
	if image := theirs["image"]; image == imageAuto || image == nil {
		delete(theirs, "image")
		delete(theirs, "imagePullPolicy") // the API server's default for an image without a version
	}
	return fill(path, theirs, wanted), nil
}

// tree is a container as JSON has it.
func tree(c corev1.Container) (map[string]any, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode container: %w", err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("decode container: %w", err)
	}
	if resources, ok := out["resources"].(map[string]any); ok && len(resources) == 0 {
		delete(out, "resources") // our types write it always
	}
	return out, nil
}

// fill descends only where two values make sense side by side: a probe with two
// handlers would be none.
func fill(path string, theirs, ours map[string]any) []Operation {
	var ops []Operation
	for _, key := range sortedKeys(ours) {
		at, mine := path+"/"+escape(key), ours[key]
		theirsMap, isMap := theirs[key].(map[string]any)
		theirsList, isList := theirs[key].([]any)
		mineMap, _ := mine.(map[string]any)
		mineList, _ := mine.([]any)
		switch {
		case theirs[key] == nil, isMap && len(theirsMap) == 0, isList && len(theirsList) == 0:
			ops = append(ops, add(at, mine))
		case isMap && descends(key):
			ops = append(ops, fill(at, theirsMap, mineMap)...)
		case isList && entryName(key) != "":
			ops = append(ops, appendMissing(at, entryName(key), theirsList, mineList)...)
		}
	}
	return ops
}

func descends(key string) bool {
	switch key {
	case "securityContext", "resources", "requests", "limits", "lifecycle":
		return true
	default:
		return false
	}
}

// entryName is the field that tells the entries of a list apart.
func entryName(key string) string {
	switch key {
	case "env", "ports":
		return "name"
	case "volumeMounts":
		return "mountPath"
	default:
		return ""
	}
}

func appendMissing(path, name string, theirs, ours []any) []Operation {
	there := make(map[any]bool)
	for _, entry := range theirs {
		if fields, ok := entry.(map[string]any); ok {
			there[fields[name]] = true
		}
	}
	var ops []Operation
	for _, entry := range ours {
		if fields, ok := entry.(map[string]any); ok && !there[fields[name]] {
			ops = append(ops, add(path+"/-", entry))
		}
	}
	return ops
}
