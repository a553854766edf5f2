// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"errors"
	"io"
	"testing"
)

// fakeSecurity is TLS as a test says.
type fakeSecurity struct{ worn, notified bool }

func (f *fakeSecurity) Worn() bool          { return f.worn }
func (f *fakeSecurity) CloseNotified() bool { return f.notified }

// secured gives the first connection of the pool TLS.
func (p *poolRig) secured(f *fakeSecurity) (c *serverConn) {
	p.do(func() {
		for _, g := range p.shard.pool.groups {
			c = g.conns[0]
			c.security = f
		}
	})
	return c
}

// TestWornEndpoint: a connection whose keys are worn out gets no new request, is
// replaced, and closed when it is idle.
func TestWornEndpoint(t *testing.T) {
	for _, k := range []kind{kindHTTP1, kindHTTP2} {
		p := newPoolRig(t, k, 1)
		p.requests(1)
		first := p.connect(0)
		tls := &fakeSecurity{}
		c := p.secured(tls)
		p.answerAll(first)
		p.requests(1)
		if p.dialling(0) != 0 || len(first.streams) != 2 {
			t.Fatalf("%d dials, %d streams while it is fresh", p.dialling(0), len(first.streams))
		}
		p.do(func() { tls.worn = true })
		p.answerAll(first) // the one under way ends in order
		down := p.requests(1)[0]
		if p.dialling(0) != 1 || len(first.streams) != 2 {
			t.Errorf("%d dials, %d streams when it is worn", p.dialling(0), len(first.streams))
		}
		p.answerAll(p.connect(0))
		if down.status() != 200 {
			t.Errorf("status %d", down.status())
		}
		p.do(func() { c.look(); c.look() })
		if err := p.peerSees(0); !errors.Is(err, io.EOF) {
			t.Errorf("it is not closed: %v", err)
		}
	}
}

// TestWornClient: its next request tells the client to reconnect.
func TestWornClient(t *testing.T) {
	r := newRig(t, kindHTTP2, 1, nil)
	f, _ := r.adoptClient(t, kindHTTP2)
	tls := &fakeSecurity{}
	r.do(func() { f.c.security = tls })
	for i, want := range []int{0, 1} {
		r.do(func() { tls.worn = i == 1 })
		if r.receive(f, "GET\n"); f.went != want {
			t.Errorf("request %d: told to go %d times, want %d", i, f.went, want)
		}
	}
}

// TestTruncation: a FIN is no end of an answer over TLS, close_notify is.
func TestTruncation(t *testing.T) {
	for _, notified := range []bool{false, true} {
		p := newPoolRig(t, kindHTTP1, 1)
		p.requests(1)
		p.connect(0)
		c := p.secured(&fakeSecurity{notified: notified})
		p.do(func() {
			if err := c.End(); errors.Is(err, errTruncated) == notified {
				t.Errorf("close_notify %t: %v", notified, err)
			}
		})
	}
}
