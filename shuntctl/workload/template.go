// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/webhook/inject"
)

// template is a pod, or the template of one, in a document.
type template struct {
	kind, object, namespace string // of the object that holds it
	path                    string // in the document, as a JSON pointer
	pod                     *corev1.Pod
}

// templatePath returns where an object of a kind has its pod, and whether it has.
func templatePath(apiVersion, kind string) (path []string, ok bool) {
	switch group, _, _ := strings.Cut(apiVersion, "/"); group + " " + kind {
	case "v1 Pod":
		return nil, true
	case "v1 ReplicationController", "apps Deployment", "apps DaemonSet", "apps StatefulSet", "apps ReplicaSet", "batch Job":
		return []string{"spec", "template"}, true
	case "batch CronJob":
		return []string{"spec", "jobTemplate", "spec", "template"}, true
	default:
		return nil, false
	}
}

// templates returns the pods and pod templates of the document, in order.
func (d document) templates() ([]template, error) {
	found, err := templatesIn(d.object, "")
	if err != nil {
		return nil, fmt.Errorf("document %d: %w", d.number, err)
	}
	return found, nil
}

func templatesIn(object map[string]any, at string) ([]template, error) {
	apiVersion, kind := text(object["apiVersion"]), text(object["kind"])
	if apiVersion == "v1" && kind == "List" {
		return templatesOfList(object, at)
	}
	path, ok := templatePath(apiVersion, kind)
	if !ok {
		return nil, nil
	}
	metadata, _ := object["metadata"].(map[string]any)
	t := template{
		kind: strings.ToLower(kind), object: cmp.Or(text(metadata["name"]), text(metadata["generateName"])+"*"),
		namespace: text(metadata["namespace"]), path: at, pod: new(corev1.Pod),
	}
	inside := object
	for _, key := range path {
		t.path += "/" + key
		if inside, ok = inside[key].(map[string]any); !ok {
			return nil, fmt.Errorf("%s has no %s (a pod template belongs there)", t.name(), strings.Join(path, "."))
		}
	}
	body, err := json.Marshal(inside)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.name(), err)
	}
	if err := json.Unmarshal(body, t.pod); err != nil {
		return nil, fmt.Errorf("read the pod of %s: %w", t.name(), err)
	}
	return []template{t}, nil
}

func templatesOfList(list map[string]any, at string) ([]template, error) {
	items, _ := list["items"].([]any)
	var all []template
	for i, item := range items {
		object, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("item %d of the list is no object", i)
		}
		found, err := templatesIn(object, at+"/items/"+strconv.Itoa(i))
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func (t template) name() string { return t.kind + "/" + t.object }

func (t template) outcome(why inject.Reason, changed bool, message string, warnings []string) Outcome {
	return Outcome{Object: t.name(), Namespace: t.namespace, Changed: changed, Reason: why, Message: message, Warnings: warnings}
}

// namespaceIn returns what is known of the template's namespace: what the
// documents say, or its name alone.
func (t template) namespaceIn(known map[string]inject.Namespace) inject.Namespace {
	if ns, found := known[t.namespace]; found {
		return ns
	}
	return inject.Namespace{Name: t.namespace}
}

// namespacesOf returns the Namespaces among the documents, by name.
func namespacesOf(documents []document) map[string]inject.Namespace {
	all := make(map[string]inject.Namespace)
	for _, d := range documents {
		collectNamespaces(d.object, all)
	}
	return all
}

func collectNamespaces(object map[string]any, into map[string]inject.Namespace) {
	switch {
	case object["apiVersion"] != "v1":
	case object["kind"] == "Namespace":
		metadata, _ := object["metadata"].(map[string]any)
		ns := inject.Namespace{Name: text(metadata["name"]), Labels: texts(metadata["labels"]), Annotations: texts(metadata["annotations"])}
		into[ns.Name] = ns
	case object["kind"] == "List":
		items, _ := object["items"].([]any)
		for _, item := range items {
			if item, ok := item.(map[string]any); ok {
				collectNamespaces(item, into)
			}
		}
	}
}

func texts(v any) map[string]string {
	values, _ := v.(map[string]any)
	out := make(map[string]string, len(values))
	for key, value := range values {
		out[key] = text(value)
	}
	return out
}
