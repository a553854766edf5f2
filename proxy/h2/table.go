// SPDX-License-Identifier: Apache-2.0

package h2

// table finds streams by their identifiers: open addressing with linear
// probing, at most half full. Identifiers are odd and come in order, so that
// they seldom collide. An empty one takes no memory.
type table struct {
	slots []*stream // a power of two of them
	n     int
}

// tableKeep is how many slots are kept when the last stream has gone.
const tableKeep = 256

func (t *table) slot(id uint32) int { return int(id>>1) & (len(t.slots) - 1) }

func (t *table) get(id uint32) *stream {
	if t.n == 0 {
		return nil
	}
	for i := t.slot(id); t.slots[i] != nil; i = (i + 1) & (len(t.slots) - 1) {
		if t.slots[i].id == id {
			return t.slots[i]
		}
	}
	return nil
}

func (t *table) put(s *stream) {
	if 2*(t.n+1) > len(t.slots) {
		old := t.slots
		t.slots = make([]*stream, max(8, 2*len(old)))
		for _, s := range old {
			if s != nil {
				t.place(s)
			}
		}
	}
	t.place(s)
	t.n++
}

func (t *table) place(s *stream) {
	i := t.slot(s.id)
	for t.slots[i] != nil {
		i = (i + 1) & (len(t.slots) - 1)
	}
	t.slots[i] = s
}

// remove takes a stream out that is in the table. Those behind it which had to
// give way move up, so that no probe ends too early.
func (t *table) remove(s *stream) {
	mask := len(t.slots) - 1
	i := t.slot(s.id)
	for t.slots[i] != s {
		i = (i + 1) & mask
	}
	for j := (i + 1) & mask; t.slots[j] != nil; j = (j + 1) & mask {
		home := t.slot(t.slots[j].id)
		if (j-home)&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = nil
	if t.n--; t.n == 0 && len(t.slots) > tableKeep {
		t.slots = nil
	}
}

// list is a copy, for loops during which streams may come and go.
func (t *table) list() []*stream {
	if t.n == 0 {
		return nil
	}
	all := make([]*stream, 0, t.n)
	for _, s := range t.slots {
		if s != nil {
			all = append(all, s)
		}
	}
	return all
}

// queue is a list of streams in turn.
type queue struct{ head, tail *stream }

func (q *queue) push(s *stream) {
	if s.queued {
		return
	}
	s.queued, s.prev, s.next = true, q.tail, nil
	if q.tail == nil {
		q.head = s
	} else {
		q.tail.next = s
	}
	q.tail = s
}

func (q *queue) remove(s *stream) {
	if !s.queued {
		return
	}
	if s.prev == nil {
		q.head = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		q.tail = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.queued, s.prev, s.next = false, nil, nil
}
