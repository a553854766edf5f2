// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"hash/maphash"
	"iter"
	"maps"
	"sync/atomic"
)

// shards is a power of two. With the 1,000 clusters of a busy proxy a change
// copies one map of about 16 entries and this array, not the 1,000.
const shards = 64

// table is a map that is never changed: with returns another one that shares
// all shards that did not change. The zero table is empty.
type table[K comparable, V any] struct {
	seed   maphash.Seed
	shards *[shards]map[K]V
	len    int
}

func (t *table[K, V]) get(k K) (v V, ok bool) {
	if t.shards == nil {
		return v, false
	}
	v, ok = t.shards[t.index(k)][k]
	return v, ok
}

func (t *table[K, V]) index(k K) uint64 { return maphash.Comparable(t.seed, k) % shards }

// with returns the table after the changes.
func (t table[K, V]) with(set map[K]V, removed ...K) table[K, V] {
	if len(set) == 0 && len(removed) == 0 {
		return t
	}
	next := table[K, V]{seed: t.seed, shards: new([shards]map[K]V), len: t.len}
	if t.shards == nil {
		next.seed = maphash.MakeSeed()
	} else {
		*next.shards = *t.shards
	}
	var copied [shards]bool
	own := func(k K) map[K]V {
		i := next.index(k)
		if !copied[i] {
			copied[i] = true
			if next.shards[i] = maps.Clone(next.shards[i]); next.shards[i] == nil {
				next.shards[i] = map[K]V{}
			}
		}
		return next.shards[i]
	}
	for k, v := range set {
		m := own(k)
		next.len -= len(m)
		m[k] = v
		next.len += len(m)
	}
	for _, k := range removed {
		m := own(k)
		next.len -= len(m)
		delete(m, k)
		next.len += len(m)
	}
	return next
}

func (t *table[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if t.shards == nil {
			return
		}
		for _, m := range t.shards {
			for k, v := range m {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// mark is set by the data path and cleared by the client's sweep. A nil mark
// is never set.
type mark struct{ v atomic.Bool }

// set loads first: the mark is shared by all workers, and a store on each
// request would bounce its cache line between them.
func (m *mark) set() {
	if m != nil && !m.v.Load() {
		m.v.Store(true)
	}
}

// clear tells whether the mark was set since the last call.
func (m *mark) clear() bool { return m.v.Swap(false) }
