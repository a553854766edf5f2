// SPDX-License-Identifier: Apache-2.0

package h2

// chunks is data that waits, in pooled buffers none of which grows.
type chunks struct {
	list [][]byte
	off  int // bytes of the first one that have gone
	n    int // bytes that wait
}

func (q *chunks) add(p []byte, w Wire) {
	q.n += len(p)
	for len(p) > 0 {
		if len(q.list) == 0 || len(q.list[len(q.list)-1]) == cap(q.list[len(q.list)-1]) {
			q.list = append(q.list, w.Buffer())
		}
		tail := &q.list[len(q.list)-1]
		n := min(len(p), cap(*tail)-len(*tail))
		*tail = append(*tail, p[:n]...)
		p = p[n:]
	}
}

// first is the data of the first buffer.
func (q *chunks) first() []byte { return q.list[0][q.off:] }

// drop removes n bytes, which first returned.
func (q *chunks) drop(n int, w Wire) {
	q.n -= n
	q.off += n
	if q.off < len(q.list[0]) {
		return
	}
	w.Recycle(q.list[0][:0])
	copy(q.list, q.list[1:])
	q.list[len(q.list)-1] = nil
	q.list = q.list[:len(q.list)-1]
	q.off = 0
}

func (q *chunks) release(w Wire) {
	for i, b := range q.list {
		w.Recycle(b[:0])
		q.list[i] = nil
	}
	q.list, q.off, q.n = q.list[:0], 0, 0
}
