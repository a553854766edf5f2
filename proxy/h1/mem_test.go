// SPDX-License-Identifier: Apache-2.0

package h1_test

import (
	"runtime"
	"testing"

	"github.com/shuntmesh/shunt/proxy/h1"
	"github.com/shuntmesh/shunt/proxy/message"
)

// TestIdleMemory: an idle connection of either role costs at most 4 KiB, after
// a few requests that its caches keep.
func TestIdleMemory(t *testing.T) {
	const count, most = 1000, 4 << 10
	o := h1.Options{Interner: &message.Interner{}}
	shared := &wire{}
	request, answer := []byte(curl), []byte(hundred)
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	kept := make([]any, 0, 2*count)
	before := heap()
	for range count {
		c := h1.NewClient(shared, o, nil)
		r := &relay{client: &client{Client: c, wire: shared}}
		s := h1.NewServer(shared, o, func(st message.Stream) message.Handler {
			r.answer = st
			return r
		})
		for range 4 {
			if s.Receive(request) != nil || c.Receive(answer) != nil {
				t.Fatal("refused")
			}
			shared.out = shared.out[:0]
		}
		kept = append(kept, s, c)
	}
	per := (heap() - before) / len(kept)
	t.Logf("%d octets", per)
	if per > most {
		t.Errorf("%d octets a connection, more than %d", per, most)
	}
	runtime.KeepAlive(kept)
}
