// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"math/rand/v2"
	"net"
	"slices"
	"testing"
)

// TestFrame goes through records in pieces as crypto/tls and sockets make them,
// and never crosses a boundary.
func TestFrame(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		var stream []byte
		ends := map[int]bool{}
		for range 20 {
			body := []int{0, 1, 4, 5, 6, 300, 1<<16 - 1}[r.IntN(7)]
			stream = append(stream, dataRecord, 3, 3, byte(body>>8), byte(body))
			stream = append(stream, make([]byte, body)...)
			ends[len(stream)] = true
		}
		var f frame
		var records uint64
		for at := 0; at < len(stream); {
			input := stream[at:min(len(stream), at+1+r.IntN(400))]
			n := min(f.bound(input), 1+r.IntN(600))
			if n < 1 || n > len(input) {
				t.Fatalf("seed %d: bound is %d of %d", seed, n, len(input))
			}
			for i := at + 1; i < at+n; i++ {
				if ends[i] {
					t.Fatalf("seed %d: %d bytes from %d on cross the boundary at %d", seed, n, at, i)
				}
			}
			records += f.advance(input[:n])
			at += n
			if rest := f.rest(); (rest == headerSize && f.body == 0) != ends[at] {
				t.Fatalf("seed %d: at %d, boundary is %v, frame has %+v", seed, at, ends[at], f)
			}
		}
		if records != 20 {
			t.Errorf("seed %d: %d records counted", seed, records)
		}
	}
}

// TestWireBlocks pins what crypto/tls needs of an error to go on after it.
func TestWireBlocks(t *testing.T) {
	w := &wire{}
	n, err := w.Read(make([]byte, 10))
	temporary, ok := err.(net.Error)                                     //nolint:errorlint // crypto/tls asks the same way
	if n != 0 || !ok || !temporary.Temporary() || !temporary.Timeout() { //nolint:staticcheck // as above
		t.Errorf("Read of nothing: %d, %v", n, err)
	}
	p := slices.Repeat([]byte{1}, 100_000)
	if n, err := w.Write(p); n != len(p) || err != nil {
		t.Errorf("Write: %d, %v", n, err)
	}
}
