// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// store holds of each object what slim makes of it, by the key in it. It is
// what a reflector fills.
type store[V any] struct {
	slim func(*metav1.PartialObjectMetadata) (key string, value V)

	mu    sync.RWMutex
	byKey map[string]V

	once   sync.Once
	listed chan struct{} // closed after the first list
	// changed has room for one: there was a change since somebody looked.
	changed chan struct{}
}

var _ cache.ReflectorStore = (*store[int])(nil)

func newStore[V any](slim func(*metav1.PartialObjectMetadata) (string, V)) *store[V] {
	return &store[V]{slim: slim, byKey: map[string]V{}, listed: make(chan struct{}), changed: make(chan struct{}, 1)}
}

func (s *store[V]) get(key string) (V, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, known := s.byKey[key]
	return v, known
}

func (s *store[V]) each(f func(key string, value V)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for key, value := range s.byKey {
		f(key, value)
	}
}

func (s *store[V]) isListed() bool {
	select {
	case <-s.listed:
		return true
	default:
		return false
	}
}

func (s *store[V]) tell() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Add implements cache.ReflectorStore.
func (s *store[V]) Add(obj any) error { return s.Update(obj) }

// Update implements cache.ReflectorStore.
func (s *store[V]) Update(obj any) error {
	object, err := metadataOf(obj)
	if err != nil {
		return err
	}
	key, value := s.slim(object)
	s.mu.Lock()
	s.byKey[key] = value
	s.mu.Unlock()
	s.tell()
	return nil
}

// Delete implements cache.ReflectorStore.
func (s *store[V]) Delete(obj any) error {
	object, err := metadataOf(obj)
	if err != nil {
		return err
	}
	key, _ := s.slim(object)
	s.mu.Lock()
	delete(s.byKey, key)
	s.mu.Unlock()
	s.tell()
	return nil
}

// Replace implements cache.ReflectorStore.
func (s *store[V]) Replace(list []any, _ string) error {
	byKey := make(map[string]V, len(list))
	for _, obj := range list {
		object, err := metadataOf(obj)
		if err != nil {
			return err
		}
		key, value := s.slim(object)
		byKey[key] = value
	}
	s.mu.Lock()
	s.byKey = byKey
	s.mu.Unlock()
	s.once.Do(func() { close(s.listed) })
	s.tell()
	return nil
}

// Resync implements cache.ReflectorStore. Nobody waits for repetitions.
func (s *store[V]) Resync() error { return nil }

func metadataOf(obj any) (*metav1.PartialObjectMetadata, error) {
	object, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return nil, fmt.Errorf("keep object: unexpected type %T", obj)
	}
	return object, nil
}
