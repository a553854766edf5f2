// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/message"
)

// fakeClient is the core of a client's connection, and what h1.Server does: it
// accepts a request when its bytes have a line feed.
type fakeClient struct {
	r       *rig
	c       *clientConn
	streams []*fakeStream
	went    int // GoAway
	closed  bool
}

func (f *fakeClient) Receive(p []byte) error {
	for _, b := range p {
		if b == '\n' {
			s := &fakeStream{r: f.r, server: true}
			f.streams = append(f.streams, s)
			s.h = f.c.accept(s)
			s.onHead(request(), true)
		}
	}
	return nil
}

func (f *fakeClient) End() error   { return syscall.ECONNRESET }
func (f *fakeClient) Drained()     {}
func (f *fakeClient) Closed(error) { f.closed = true }
func (f *fakeClient) goAway()      { f.went++ }

// adoptClient gives a client's connection to the worker, as serve does.
func (r *rig) adoptClient(t *testing.T, k kind) (*fakeClient, net.Conn) {
	t.Helper()
	p := &poolRig{rig: r, t: t}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p.listener = l
	ours := p.socket()
	peer := p.peers[0]
	t.Cleanup(func() { peer.Close() })
	f := &fakeClient{r: r, c: r.client}
	r.do(func() {
		c := r.client
		c.kind, c.Core, c.goAway, c.done = k, f, f.goAway, func() {}
		c.bytes = r.options.Stats.Conn(r.options.Direction, "http1")
		r.shard.conns[c] = struct{}{}
		if c.conn, err = r.worker.Adopt(ours, nil, nil, func(*loop.Conn) loop.Core { return c }); err != nil {
			t.Error(err)
		}
		c.timer = &loop.Timer{F: c.checkHeader}
		r.worker.After(c.timer, r.options.Limits.HeaderTimeout)
	})
	return f, peer
}

func (r *rig) receive(f *fakeClient, s string) {
	r.do(func() { _ = f.c.Receive([]byte(s)) })
}

func (r *rig) looks(f *fakeClient) {
	r.do(func() { f.c.checkHeader() })
}

// TestHeaderTimeout: a client that does not end a head is cut off when it was
// looked at twice, unless there was a request between.
func TestHeaderTimeout(t *testing.T) {
	answer := func(r *rig) { r.do(func() { r.open().onHead(response(200), true) }) }
	for _, tt := range []struct {
		name string
		run  func(r *rig, f *fakeClient)
		cut  bool
	}{
		{"nothing came", func(r *rig, f *fakeClient) { r.looks(f); r.looks(f); r.looks(f) }, false},
		{"half a head", func(r *rig, f *fakeClient) { r.receive(f, "GET"); r.looks(f); r.looks(f) }, true},
		{"one look", func(r *rig, f *fakeClient) { r.receive(f, "GET"); r.looks(f) }, false},
		{"drop by drop", func(r *rig, f *fakeClient) { r.receive(f, "G"); r.looks(f); r.receive(f, "E"); r.looks(f) }, true},
		{"long answer", func(r *rig, f *fakeClient) { r.receive(f, "GET\n"); r.looks(f); r.looks(f); r.looks(f) }, false},
		{"long request", func(r *rig, f *fakeClient) { r.receive(f, "GET\n"); r.receive(f, "body"); r.looks(f); r.looks(f) }, false},
		{"idle after an answer", func(r *rig, f *fakeClient) {
			r.receive(f, "GET\n")
			answer(r)
			r.looks(f)
			r.looks(f)
		}, false},
		{"half of the second head", func(r *rig, f *fakeClient) {
			r.receive(f, "GET\n")
			answer(r)
			r.receive(f, "GET")
			r.looks(f)
			r.looks(f)
		}, true},
		{"half a head at each look", func(r *rig, f *fakeClient) {
			for range 5 {
				r.receive(f, "GE")
				r.looks(f)
				r.receive(f, "T\n")
				answer(r)
			}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, kindHTTP1, 1, nil)
			f, _ := r.adoptClient(t, kindHTTP1)
			tt.run(r, f)
			closed := false
			r.do(func() {}) // the turn of an Abort is over
			r.do(func() { closed = f.closed })
			if closed != tt.cut {
				t.Errorf("closed: %t", closed)
			}
		})
	}
}

// TestHeaderTimer: the looks come by themselves.
func TestHeaderTimer(t *testing.T) {
	r := newRig(t, kindHTTP1, 1, func(o *Options) { o.Limits.HeaderTimeout = 20 * time.Millisecond })
	f, peer := r.adoptClient(t, kindHTTP1)
	time.Sleep(80 * time.Millisecond)
	r.do(func() {
		if f.closed {
			t.Error("closed before anything came")
		}
	})
	if _, err := peer.Write([]byte("GET")); err != nil {
		t.Fatal(err)
	}
	peer.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := peer.Read(make([]byte, 1)); err == nil {
		t.Error("not cut off")
	}
}

// TestLeave: a drain lets the first request of HTTP/1 come, and tells others at
// once.
func TestLeave(t *testing.T) {
	for _, tt := range []struct {
		name  string
		kind  kind
		first string // before the drain
		went  [2]int // after the drain, after another request
	}{
		{"HTTP/1", kindHTTP1, "", [2]int{0, 1}},
		{"HTTP/1, half a head", kindHTTP1, "GET", [2]int{0, 1}},
		{"HTTP/1, not the first request", kindHTTP1, "GET\n", [2]int{1, 1}},
		{"HTTP/2", kindHTTP2, "", [2]int{1, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tt.kind, 1, nil)
			f, _ := r.adoptClient(t, tt.kind)
			r.receive(f, tt.first)
			r.do(r.shard.drain)
			if f.went != tt.went[0] {
				t.Errorf("after the drain: told to go %d times", f.went)
			}
			r.receive(f, "GET\n")
			r.receive(f, "GET\n")
			if f.went != tt.went[1] {
				t.Errorf("after requests: told to go %d times", f.went)
			}
			r.do(func() {
				for _, s := range f.streams {
					s.onReset(message.Reset{Code: message.Cancel})
				}
			})
			r.wantIdle()
		})
	}
}

// TestClientGoes: what is closed is forgotten.
func TestClientGoes(t *testing.T) {
	r := newRig(t, kindHTTP1, 1, nil)
	done := 0
	f, peer := r.adoptClient(t, kindHTTP1)
	r.do(func() { f.c.done = func() { done++ } })
	peer.Close()
	r.eventually("the end", func() (ended bool) {
		r.do(func() { ended = done == 1 && f.closed && len(r.shard.conns) == 0 })
		return ended
	})
}
