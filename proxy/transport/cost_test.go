// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"fmt"
	"runtime"
	"testing"
)

// BenchmarkSealOpen is what a flush of that many bytes costs both ends.
func BenchmarkSealOpen(b *testing.B) {
	w := newWorld(b)
	for _, size := range []int{300, 1000, 4000, 16_000, 64_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s, c := inMemory(b, w.serverConfig(b, ServerOptions{}), w.client.Client(ClientOptions{ServerName: serverName}))
			plain, buf := make([]byte, size), make([]byte, 0, 128<<10)
			s.Share(new(Scratch))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if err := sealOpen(c, s, plain, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func sealOpen(from, to *TLS, plain, buf []byte) error {
	sealed, err := from.Seal(buf[:0], plain)
	if err != nil {
		return err
	}
	return to.Open(sealed, func([]byte) error { return nil })
}

// TestAllocations: crypto/tls allocates 24 bytes per record that it reads, and
// nothing is added to that.
func TestAllocations(t *testing.T) {
	w := newWorld(t)
	s, c := inMemory(t, w.serverConfig(t, ServerOptions{}), w.client.Client(ClientOptions{ServerName: serverName}))
	plain, buf := make([]byte, 1000), make([]byte, 0, 32<<10)
	run := func() {
		if err := sealOpen(c, s, plain, buf); err != nil {
			t.Error(err)
		}
	}
	run()
	if got := testing.AllocsPerRun(1000, run); got > 1 {
		t.Errorf("%v allocations for sealing and opening a record, want 1", got)
	}
}

// TestIdleMemory measures what a connection keeps once it has received one
// record.
func TestIdleMemory(t *testing.T) {
	w := newWorld(t)
	server := w.serverConfig(t, ServerOptions{})
	client := w.client.Client(ClientOptions{ServerName: serverName})
	for _, test := range []struct{ record, limit int }{{8, 16 << 10}, {16_000, 36 << 10}} {
		const pairs = 200
		shared := new(Scratch)
		kept := make([]*TLS, 0, 2*pairs)
		before := live()
		for range pairs {
			s, c := inMemory(t, server, client)
			s.Share(shared)
			c.Share(shared)
			for _, way := range [][2]*TLS{{s, c}, {c, s}} {
				if err := sealOpen(way[0], way[1], make([]byte, test.record), nil); err != nil {
					t.Fatal(err)
				}
			}
			kept = append(kept, s, c)
		}
		each := int(live()-before) / len(kept)
		t.Logf("%5d-byte record: %.1f KiB per connection", test.record, float64(each)/1024)
		if each > test.limit {
			t.Errorf("a connection keeps %d bytes after a record of %d, want <= %d", each, test.record, test.limit)
		}
		runtime.KeepAlive(kept)
	}
}

func live() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
