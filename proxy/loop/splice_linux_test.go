// SPDX-License-Identifier: Apache-2.0

package loop_test

import (
	"bytes"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/sockettest"
)

// spliced is a core whose input goes to another connection, through the kernel
// as soon as that is possible.
type spliced struct {
	core
	to              *loop.Conn
	copied, spliced int
	want            bool // to splice
}

func (s *spliced) Receive(p []byte) error {
	s.copied += len(p)
	s.to.Send(p)
	if s.want && s.conn.Splice(s.to) {
		s.want = false
	}
	return nil
}

func (s *spliced) Spliced(n int) { s.spliced += n }

// TestSplice: bytes stay in order when they move into the kernel while output
// is unsent, and back when only little comes. How much of the many is spliced is
// up to how they come: only what lies there by then is certain.
func TestSplice(t *testing.T) {
	const certain = 64 << 10
	w := start(t, loop.Options{Driver: loop.Epoll})
	sink := &core{}
	farTo := w.adopt(sink)
	near, far := sockettest.Pair(t)
	s := &spliced{to: sink.conn}
	s.closed = make(chan error, 1)
	s.end = func(*core) error { s.to.CloseWrite(); s.conn.CloseWrite(); return nil }
	w.do(func() {
		conn, err := w.Adopt(near, nil, nil, func(c *loop.Conn) loop.Core { s.conn = c; return s })
		if err != nil || sink.conn.Splice(conn) { // that core has no Spliced
			t.Errorf("Adopt: %v, or a core spliced that can't", err)
		}
	})
	unsent := bytes.Repeat([]byte{'u'}, 16<<20)
	w.do(func() { s.to.Send(unsent); s.want = true })
	var sent bytes.Buffer
	sent.Write(unsent)
	got := make(chan []byte, 1)
	var arrived atomic.Int64
	receive := func() {
		var all bytes.Buffer
		io.Copy(io.MultiWriter(&all, counter{&arrived}), farTo)
		got <- all.Bytes()
	}
	write := func(p []byte) {
		sent.Write(p)
		far.Write(p)
	}
	write([]byte("first, "))
	eventually(t, func() bool { // it is copied, behind what is unsent
		n := 0
		w.do(func() { n = s.copied })
		return n == len("first, ")
	})
	many := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	write(many[:certain])
	go receive()
	write(many[certain:])
	for i := range 40 { // each by itself
		eventually(t, func() bool { return arrived.Load() == int64(sent.Len()) })
		write([]byte{byte('A' + i%26)})
	}
	far.CloseWrite()
	if all := await(t, got); !bytes.Equal(all, sent.Bytes()) {
		t.Errorf("got %d bytes, want %d", len(all), sent.Len())
	}
	farTo.Close()
	for _, c := range []chan error{s.closed, sink.closed} {
		if err := await(t, c); err != nil {
			t.Errorf("closed with %v", err)
		}
	}
	w.do(func() {
		if s.spliced < certain || s.copied < len("first, ")+10 || s.spliced+s.copied != sent.Len()-len(unsent) {
			t.Errorf("%d bytes spliced, %d copied", s.spliced, s.copied)
		}
	})
}

// counter counts what is written to it.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for range 10_000 {
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("it does not happen")
}
