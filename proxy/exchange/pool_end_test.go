// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/reason"
)

// TestIdle: a connection is closed when it was not in use for a while, and the
// group goes with its last one.
func TestIdle(t *testing.T) {
	for _, k := range []kind{kindHTTP1, kindHTTP2} {
		p := newPoolRig(t, k, 1)
		p.requests(1)
		f := p.connect(0)
		var c *serverConn
		p.do(func() {
			for _, g := range p.shard.pool.groups {
				c = g.conns[0]
			}
			c.idle.Stop()
			c.look() // a stream is open
			c.look()
		})
		p.answerAll(f)
		p.do(func() { c.look() }) // there was one since the last look
		p.requests(1)
		p.answerAll(f)
		p.do(func() {
			c.look() // again
			if !c.ready || len(f.streams) != 2 {
				t.Errorf("ready %t, %d streams", c.ready, len(f.streams))
			}
			c.look()
			if c.ready || len(c.group.ready) != 0 {
				t.Error("what is being closed may be used")
			}
		})
		if err := p.peerSees(0); !errors.Is(err, io.EOF) {
			t.Errorf("peer sees %v", err)
		}
		p.peers[0].Close()
		p.eventually("the group to go", func() bool { return p.groups() == 0 })
		down := p.requests(1)[0]
		p.answerAll(p.connect(0))
		if down.status() != 200 {
			t.Errorf("status %d", down.status())
		}
	}
}

// TestIdleTimes: the sum of looks is the idle time, and it is looked again.
func TestIdleTimes(t *testing.T) {
	t.Parallel()
	idle := DefaultLimits().IdleHTTP1
	if idle >= 5*time.Second || looks < 2 {
		t.Errorf("idle connections are kept for %v, with %d looks", idle, looks)
	}
	p := newPoolRig(t, kindHTTP1, 1)
	p.requests(1)
	p.answerAll(p.connect(0))
	start := time.Now()
	if err := p.peerSees(0); !errors.Is(err, io.EOF) {
		t.Errorf("peer sees %v", err)
	}
	if d := time.Since(start); d < idle/looks || d > idle+idle/8 {
		t.Errorf("closed after %v", d)
	}
	p.wantMetric("limit_hits_total", map[string]int{"http1-idle-timeout": 1})
}

// TestPeerCloses: a connection that is closed leaves the pool, its requests
// fail, and those that wait get another.
func TestPeerCloses(t *testing.T) {
	p := newPoolRig(t, kindHTTP2, 1)
	p.room = 1
	failed := p.requests(1)[0]
	p.connect(0)
	waits := p.requests(2)
	p.endDial(0, nil, reason.ConnectRefused) // both fail: no other endpoint
	waits = append(waits[:0], p.requests(1)...)
	if n := p.dialling(0); n != 1 {
		t.Fatalf("%d dials", n)
	}
	p.peers[0].SetLinger(0)
	p.peers[0].Close()
	p.eventually("the connection to go", func() (gone bool) {
		p.do(func() { gone = p.cores[0].closed })
		return gone
	})
	if failed.status() != 503 || failed.get("shunt-error") != "upstream-reset" || waits[0].status() != 0 {
		t.Errorf("status %d, error %q; of who waits: %d", failed.status(), failed.get("shunt-error"), waits[0].status())
	}
	if n := p.dialling(0); n != 1 {
		t.Errorf("%d dials", n)
	}
	p.answerAll(p.connect(0))
	if waits[0].status() != 200 {
		t.Errorf("status %d", waits[0].status())
	}
	p.peers[len(p.peers)-1].Close()
	p.eventually("the group to go", func() bool { return p.groups() == 0 })
	p.wantIdle()
}

// TestBoundAndPeerCloses: who waits because of the bound on connections gets the
// place of one that was closed.
func TestBoundAndPeerCloses(t *testing.T) {
	p := newPoolRig(t, kindHTTP2, 1)
	p.room = 1
	for range DefaultLimits().MaxEndpointConns {
		p.requests(1)
		p.connect(0)
	}
	p.requests(1)
	p.peers[3].Close()
	p.eventually("a dial", func() bool { return p.dialling(0) == 1 })
	p.connect(0)
	for _, c := range p.cores {
		p.answerAll(c)
	}
	p.wantIdle()
}

// TestNotAdopted: a connection that the loop cannot take over is like one that
// was not made.
func TestNotAdopted(t *testing.T) {
	for _, k := range []kind{kindHTTP1, kindHTTP2} {
		p := newPoolRig(t, k, 1)
		down := p.requests(1)[0]
		broken := p.socket()
		broken.Close()
		p.endDial(0, broken, reason.None)
		if down.status() != 503 || down.get("shunt-error") != "no-descriptors" {
			t.Errorf("status %d, error %q", down.status(), down.get("shunt-error"))
		}
		if n := p.groups(); n != 0 {
			t.Errorf("%d groups", n)
		}
		p.wantIdle()
	}
}

// TestClose: of a pool that is closed nothing stays, nor comes.
func TestClose(t *testing.T) {
	p := newPoolRig(t, kindHTTP2, 1)
	p.room = 1
	p.requests(1)
	f := p.connect(0)
	down := p.requests(1)[0]
	p.answerAll(f) // both share it
	p.answerAll(f)
	p.do(p.shard.pool.close)
	if err := p.peerSees(0); !errors.Is(err, io.EOF) {
		t.Errorf("peer sees %v", err)
	}
	p.peers[0].Close()
	p.endDial(0, p.socket(), reason.None)
	if err := p.peerSees(1); !errors.Is(err, io.EOF) {
		t.Errorf("peer of the late one sees %v", err)
	}
	if down.status() != 200 || len(p.cores) != 1 {
		t.Errorf("status %d, %d connections", down.status(), len(p.cores))
	}
	p.eventually("the group to go", func() bool { return p.groups() == 0 })
	p.wantIdle()
}
