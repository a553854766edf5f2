// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
)

// balanceMaps are those of bpf/balance.h, which one Balance at a time writes.
type balanceMaps struct {
	services, slots, removals, counters *ebpf.Map
}

func openBalanceMaps(l layout) (*balanceMaps, error) {
	m := &balanceMaps{}
	for name, into := range map[string]**ebpf.Map{
		programsMapServices: &m.services,
		programsMapSlots:    &m.slots,
		programsMapRemovals: &m.removals,
		programsMapCounters: &m.counters,
	} {
		opened, err := ebpf.LoadPinnedMap(filepath.Join(l.maps(), name), nil)
		if err != nil {
			m.Close()
			return nil, openError(l, err)
		}
		*into = opened
	}
	return m, nil
}

// Close gives up our handles; the pins keep the maps.
func (m *balanceMaps) Close() {
	for _, each := range []*ebpf.Map{m.services, m.slots, m.removals, m.counters} {
		if each != nil {
			_ = each.Close()
		}
	}
}

// read returns what is pinned.
func (m *balanceMaps) read() (pinned, error) {
	h := pinned{words: map[place]slotKey{}, tables: map[uint64][]place{}}
	services, words, err := readAll[place, slotKey](m.services)
	if err != nil {
		return h, fmt.Errorf("read services: %w", err)
	}
	keys, places, err := readAll[slotKey, place](m.slots)
	if err != nil {
		return h, fmt.Errorf("read slots: %w", err)
	}
	if h.removals, _, err = readAll[removal, uint32](m.removals); err != nil {
		return h, fmt.Errorf("read removed endpoints: %w", err)
	}
	for i, s := range services {
		h.words[s] = words[i]
		h.tables[words[i].table()] = nil
	}
	order := make([]int, len(keys))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(keys[i], keys[j]) })
	for _, i := range order {
		t, is := h.tables[keys[i].table()]
		if !is || keys[i].slot() != len(t) {
			h.stray = append(h.stray, keys[i])
			continue
		}
		h.tables[keys[i].table()] = append(t, places[i])
	}
	return h, nil
}

// batch is how many elements are read in one call; those of one bucket must fit.
const batch = 4096

// readAll returns all elements of a map that nobody else writes to.
func readAll[K, V any](m *ebpf.Map) (keys []K, values []V, err error) {
	var cursor ebpf.MapBatchCursor
	k, v := make([]K, batch), make([]V, batch)
	for {
		n, err := m.BatchLookup(&cursor, k, v, nil)
		keys, values = append(keys, k[:n]...), append(values, v[:n]...)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return keys, values, nil
		}
		if err != nil {
			return nil, nil, hint(err)
		}
	}
}

// publish makes a change hold, but for what it erases.
func (m *balanceMaps) publish(c change) error {
	if err := writeAll(m.removals, c.removals, make([]uint32, len(c.removals))); err != nil {
		return fmt.Errorf("note removed endpoints: %w", err)
	}
	if err := writeAll(m.slots, c.keys, c.places); err != nil {
		return errors.Join(fmt.Errorf("write slots: %w", err), m.eraseSlots(c.keys), m.forget(c.removals))
	}
	for _, s := range c.dropped { // ahead of the others, whom it makes room for
		if err := deleteKey(m.services, s); err != nil {
			return fmt.Errorf("take out service %v: %w", s, err)
		}
	}
	if err := writeAll(m.services, c.services, c.words); err != nil {
		return fmt.Errorf("write services: %w (the next attempt finishes it)", err)
	}
	return nil
}

func (m *balanceMaps) eraseSlots(keys []slotKey) error {
	for _, k := range keys {
		if err := deleteKey(m.slots, k); err != nil {
			return fmt.Errorf("erase slot: %w", err)
		}
	}
	return nil
}

func (m *balanceMaps) forget(removals []removal) error {
	for _, r := range removals {
		if err := deleteKey(m.removals, r); err != nil {
			return fmt.Errorf("forget removed endpoint %v: %w", r.Endpoint, err)
		}
	}
	return nil
}

func writeAll[K, V any](m *ebpf.Map, keys []K, values []V) error {
	if len(keys) == 0 {
		return nil
	}
	if _, err := m.BatchUpdate(keys, values, nil); err != nil {
		return full(err)
	}
	return nil
}

func deleteKey(m *ebpf.Map, key any) error {
	if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return hint(err)
	}
	return nil
}
