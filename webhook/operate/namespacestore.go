// SPDX-License-Identifier: Apache-2.0

package operate

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// Namespace is what its pods inherit. It is immutable.
type Namespace struct {
	Labels      map[string]string
	Annotations map[string]string // of the mesh's and Istio's domains alone
}

// namespaceStore holds all namespaces, by name. It keeps of each only what
// somebody asks for: "kubectl apply" leaves a copy of the whole object in an
// annotation, and managedFields is larger than the rest.
type namespaceStore struct {
	mu     sync.RWMutex
	byName map[string]Namespace
	once   sync.Once
	listed chan struct{} // closed after the first list
}

var _ cache.ReflectorStore = (*namespaceStore)(nil)

func newNamespaceStore() *namespaceStore {
	return &namespaceStore{byName: map[string]Namespace{}, listed: make(chan struct{})}
}

func (s *namespaceStore) get(name string) (Namespace, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ns, known := s.byName[name]
	return ns, known
}

// learn adds what was read beside the watch, unless the watch has been faster.
func (s *namespaceStore) learn(object *metav1.PartialObjectMetadata) Namespace {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ns, known := s.byName[object.Name]; known {
		return ns
	}
	ns := slim(object)
	s.byName[object.Name] = ns
	return ns
}

func (s *namespaceStore) labelled(key, value string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var names []string
	for name, ns := range s.byName {
		if got, set := ns.Labels[key]; set && got == value {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Add implements cache.ReflectorStore.
func (s *namespaceStore) Add(obj any) error { return s.Update(obj) }

// Update implements cache.ReflectorStore.
func (s *namespaceStore) Update(obj any) error {
	object, err := metadataOf(obj)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byName[object.Name] = slim(object)
	return nil
}

// Delete implements cache.ReflectorStore.
func (s *namespaceStore) Delete(obj any) error {
	object, err := metadataOf(obj)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byName, object.Name)
	return nil
}

// Replace implements cache.ReflectorStore.
func (s *namespaceStore) Replace(list []any, _ string) error {
	byName := make(map[string]Namespace, len(list))
	for _, obj := range list {
		object, err := metadataOf(obj)
		if err != nil {
			return err
		}
		byName[object.Name] = slim(object)
	}
	s.mu.Lock()
	s.byName = byName
	s.mu.Unlock()
	s.once.Do(func() { close(s.listed) })
	return nil
}

// Resync implements cache.ReflectorStore. Nobody waits for repetitions.
func (s *namespaceStore) Resync() error { return nil }

func metadataOf(obj any) (*metav1.PartialObjectMetadata, error) {
	object, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return nil, fmt.Errorf("keep namespace: unexpected type %T", obj)
	}
	return object, nil
}

// slim copies the strings: in the API server's answer they may share memory
// with all that is left out.
func slim(object *metav1.PartialObjectMetadata) Namespace {
	ns := Namespace{Labels: make(map[string]string, len(object.Labels))}
	for key, value := range object.Labels {
		ns.Labels[strings.Clone(key)] = strings.Clone(value)
	}
	for key, value := range object.Annotations {
		if inherited(key) {
			if ns.Annotations == nil {
				ns.Annotations = map[string]string{}
			}
			ns.Annotations[strings.Clone(key)] = strings.Clone(value)
		}
	}
	return ns
}

// inherited says whether a pod may inherit the annotation: it is one of the
// mesh's, or of the names of Istio's that are read as aliases.
func inherited(key string) bool {
	domain, _, _ := strings.Cut(key, "/")
	return domain == "shunt.dev" || domain == "istio.io" || strings.HasSuffix(domain, ".istio.io")
}
