// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/shuntmesh/shunt/proxy/message"
)

// TestTable compares a table with a map.
func TestTable(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var tab table
		model := map[uint32]*stream{}
		var ids []uint32
		next := uint32(1)
		for range 3000 {
			switch {
			case rnd.IntN(100) < 51 || len(ids) == 0:
				next += 2 * uint32(1+rnd.IntN(1+rnd.IntN(20)))
				s := &stream{id: next}
				tab.put(s)
				model[next] = s
				ids = append(ids, next)
			default:
				i := rnd.IntN(len(ids))
				tab.remove(model[ids[i]])
				delete(model, ids[i])
				ids[i] = ids[len(ids)-1]
				ids = ids[:len(ids)-1]
			}
			id := next - 2*uint32(rnd.IntN(200))
			if tab.get(id) != model[id] {
				t.Fatalf("get(%d) differs", id)
			}
		}
		if tab.n != len(model) || len(tab.list()) != len(model) {
			t.Fatalf("%d streams, want %d", tab.n, len(model))
		}
		for id, s := range model {
			if tab.get(id) != s {
				t.Fatalf("get(%d) differs", id)
			}
			tab.remove(s)
		}
		if tab.n != 0 || len(tab.slots) > tableKeep {
			t.Errorf("empty table has %d slots", len(tab.slots))
		}
	}
}

// A stream that stays must not make the table grow with those that come and go.
func TestTableStaysSmall(t *testing.T) {
	var tab table
	tab.put(&stream{id: 1})
	for id := uint32(3); id < 100000; id += 2 {
		s := &stream{id: id}
		tab.put(s)
		tab.remove(s)
	}
	if len(tab.slots) > 8 {
		t.Errorf("%d slots", len(tab.slots))
	}
}

func TestChunks(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	w := &wire{}
	var q chunks
	var want []byte
	for range 2000 {
		if rnd.IntN(2) == 0 {
			p := make([]byte, rnd.IntN(1+rnd.IntN(70000)))
			for i := range p {
				p[i] = byte(rnd.Uint32())
			}
			q.add(p, w)
			want = append(want, p...)
		} else if q.n > 0 {
			p := q.first()
			n := 1 + rnd.IntN(len(p))
			if !bytes.Equal(p[:n], want[:n]) {
				t.Fatal("bytes differ")
			}
			q.drop(n, w)
			want = want[n:]
		}
		if q.n != len(want) {
			t.Fatalf("%d bytes wait, want %d", q.n, len(want))
		}
		if most := q.n/(32<<10) + 2; w.lent > most {
			t.Fatalf("%d buffers for %d bytes", w.lent, q.n)
		}
	}
	q.release(w)
	if w.lent != 0 || q.n != 0 {
		t.Errorf("%d buffers are lent", w.lent)
	}
}

// TestIdleConnectionIsSmall measures what connections cost that are open and
// have no stream, fresh and after some requests.
func TestIdleConnectionIsSmall(t *testing.T) {
	const n = 2000
	o := Options{Interner: &message.Interner{}, Pool: &Pool{}}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	w := &wire{}
	response := responseHead(200)
	handler := headFunc(func(*message.Head) {})
	conns := make([]*Conn, n)
	before := heap()
	for i := range conns {
		conns[i] = NewServer(w, o, func(s message.Stream) message.Handler {
			s.SendHead(response, true)
			return handler
		})
		conns[i].Receive([]byte(preface))
		conns[i].Receive(settings())
		w.out = w.out[:0]
	}
	fresh := (heap() - before) / n
	for _, c := range conns {
		for id := uint32(1); id < 7; id += 2 {
			c.Receive(raw(frameHeaders, flagEndHeaders|flagEndStream, id, "\x82\x86\x84\x01\x01a"))
			w.out = w.out[:0]
		}
	}
	used := (heap() - before) / n
	t.Logf("%d bytes fresh, %d after three requests", fresh, used)
	if fresh > 1024 {
		t.Errorf("a fresh connection takes %d bytes", fresh)
	}
	if used > 2048 {
		t.Errorf("a connection takes %d bytes after three requests", used)
	}
	runtime.KeepAlive(conns)
}
