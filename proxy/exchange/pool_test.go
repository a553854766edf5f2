// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/message"
	"github.com/shuntmesh/shunt/proxy/reason"
)

// poolRig is a rig with sockets to its endpoints, which the test dials.
type poolRig struct {
	*rig
	t        *testing.T
	room     int // of a new connection
	listener *net.TCPListener
	cores    []*fakeServer
	peers    []*net.TCPConn // the other ends of their sockets
}

func newPoolRig(t *testing.T, k kind, endpoints int) *poolRig {
	t.Helper()
	p := &poolRig{rig: newRig(t, k, 0, nil), t: t, room: 1 << 20}
	if k == kindHTTP1 {
		p.room = 1
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	p.listener = l
	t.Cleanup(func() {
		l.Close()
		for _, c := range p.peers {
			c.Close()
		}
	})
	p.addEndpoints(endpoints)
	p.shard.pool.newCore = func(_ *group, _ *loop.Conn, changed func()) core {
		f := &fakeServer{r: p.rig, room: p.room, changed: changed}
		p.cores = append(p.cores, f)
		return f
	}
	return p
}

// socket is a new connection to the listener.
func (p *poolRig) socket() *net.TCPConn {
	p.t.Helper()
	c, err := net.Dial("tcp", p.listener.Addr().String())
	if err != nil {
		p.t.Fatal(err)
	}
	peer, err := p.listener.AcceptTCP()
	if err != nil {
		p.t.Fatal(err)
	}
	p.peers = append(p.peers, peer)
	return c.(*net.TCPConn)
}

// connect has the dial of endpoint i succeed.
func (p *poolRig) connect(i int) *fakeServer {
	p.t.Helper()
	p.endDial(i, p.socket(), reason.None)
	return p.cores[len(p.cores)-1]
}

// dialling is how many dials of endpoint i are under way.
func (p *poolRig) dialling(i int) (n int) {
	p.do(func() {
		if g := p.shard.pool.groups[groupKey{p.endpoints[i].Addr(), p.client.kind}]; g != nil {
			n = g.dialing
		}
	})
	return n
}

func (p *poolRig) groups() (n int) {
	p.do(func() { n = len(p.shard.pool.groups) })
	return n
}

// peerSees waits for the end of the i-th connection.
func (p *poolRig) peerSees(i int) error {
	p.peers[i].SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err := p.peers[i].Read(make([]byte, 1))
	return err
}

func (p *poolRig) answerAll(f *fakeServer) {
	p.do(func() {
		for _, s := range slices.Clone(f.streams) {
			s.onHead(response(200), true)
		}
	})
}

func (p *poolRig) requests(n int) (downs []*fakeStream) {
	for range n {
		downs = append(downs, p.request(request(), true))
	}
	return downs
}

// TestPoolHTTP2: many requests, one dial, one connection.
func TestPoolHTTP2(t *testing.T) {
	p := newPoolRig(t, kindHTTP2, 1)
	downs := p.requests(5)
	if n := p.dialling(0); n != 1 {
		t.Errorf("%d dials", n)
	}
	c := p.connect(0)
	if len(c.streams) != 5 {
		t.Fatalf("%d streams", len(c.streams))
	}
	for i, s := range c.streams {
		if (*exchange)(s.h.(*answer)).down != downs[i] {
			t.Errorf("stream %d is not of request %d", i, i)
		}
	}
	p.requests(3)
	if n := p.dialling(0); n != 0 || len(c.streams) != 8 {
		t.Errorf("%d dials, %d streams", n, len(c.streams))
	}
	p.answerAll(c)
	p.wantIdle()
	if len(p.cores) != 1 {
		t.Errorf("%d connections", len(p.cores))
	}
}

// TestPoolHTTP1: one dial and one connection for each request at a time.
func TestPoolHTTP1(t *testing.T) {
	p := newPoolRig(t, kindHTTP1, 1)
	downs := p.requests(3)
	if n := p.dialling(0); n != 3 {
		t.Errorf("%d dials", n)
	}
	for i := range 3 {
		c := p.connect(0)
		if len(c.streams) != 1 || (*exchange)(c.streams[0].h.(*answer)).down != downs[i] {
			t.Fatalf("connection %d does not serve request %d", i, i)
		}
	}
	p.answerAll(p.cores[1])
	p.requests(1)
	if n := p.dialling(0); n != 0 || len(p.cores[1].streams) != 2 {
		t.Errorf("%d dials, and the connection that is free has served %d requests", n, len(p.cores[1].streams))
	}
	next := p.requests(1)[0]
	if n := p.dialling(0); n != 1 {
		t.Errorf("%d dials", n)
	}
	p.answerAll(p.cores[0]) // is faster
	if len(p.cores[0].streams) != 2 || p.cores[0].streams[1].over {
		t.Error("the request that waits does not get the connection that is free")
	}
	p.endDial(0, nil, reason.ConnectRefused) // which nobody needs any more
	if next.status() != 0 {
		t.Errorf("status %d", next.status())
	}
	for _, c := range p.cores {
		p.answerAll(c)
	}
	p.wantMetric("requests_total", map[string]int{"2xx": 5})
	p.wantIdle()
}

// TestDialFailsHTTP1: a failed dial is that of one request, the oldest.
func TestDialFailsHTTP1(t *testing.T) {
	p := newPoolRig(t, kindHTTP1, 1)
	downs := p.requests(3)
	p.do(func() { downs[1].onReset(message.Reset{Code: message.Cancel}) })
	p.endDial(0, nil, reason.ConnectRefused) // there are dials enough for the others
	if downs[0].status() != 0 || downs[2].status() != 0 {
		t.Errorf("status %d, %d", downs[0].status(), downs[2].status())
	}
	p.endDial(0, nil, reason.ConnectTimeout)
	if downs[0].status() != 503 || downs[2].status() != 0 {
		t.Errorf("status %d, %d", downs[0].status(), downs[2].status())
	}
	p.answerAll(p.connect(0))
	if downs[2].status() != 200 {
		t.Errorf("status %d", downs[2].status())
	}
	p.wantMetric("errors_total", map[string]int{"connect-timeout": 1})
	p.wantIdle()
}

// TestDialFailsHTTP2: a failed dial was for all that waited, which go elsewhere.
func TestDialFailsHTTP2(t *testing.T) {
	p := newPoolRig(t, kindHTTP2, 2)
	downs := p.requests(3)
	p.endDial(0, nil, reason.ConnectRefused)
	if n := p.groups(); n != 1 {
		t.Errorf("%d groups: that of what is not there is kept", n)
	}
	c := p.connect(1)
	for i, s := range c.streams {
		if (*exchange)(s.h.(*answer)).down != downs[i] {
			t.Errorf("stream %d is not of request %d", i, i)
		}
	}
	p.answerAll(c)
	p.wantMetric("requests_total", map[string]int{"2xx": 3})
	p.wantMetric("retries_total", map[string]int{"connect-refused": 3})
	p.wantIdle()
}

// TestRoom: when the streams that an endpoint allows are all in use there is one
// dial for another connection, and who waits gets what is free first.
func TestRoom(t *testing.T) {
	p := newPoolRig(t, kindHTTP2, 1)
	p.room = 2
	downs := p.requests(2)
	first := p.connect(0)
	downs = append(downs, p.requests(3)...)
	if n := p.dialling(0); n != 1 || len(first.streams) != 2 {
		t.Fatalf("%d dials, %d streams", n, len(first.streams))
	}
	p.do(func() { first.streams[0].onHead(response(200), true) })
	if len(first.streams) != 3 || (*exchange)(first.streams[2].h.(*answer)).down != downs[2] {
		t.Fatalf("%d streams", len(first.streams))
	}
	second := p.connect(0)
	if len(second.streams) != 2 || (*exchange)(second.streams[0].h.(*answer)).down != downs[3] {
		t.Fatalf("%d streams", len(second.streams))
	}
	if n := p.dialling(0); n != 0 {
		t.Errorf("%d dials with nobody waiting", n)
	}
	p.answerAll(first)
	p.answerAll(second)
	p.wantMetric("requests_total", map[string]int{"2xx": 5})
	p.wantIdle()
}

// TestRoomOfOne: as long as somebody waits there is a dial.
func TestRoomOfOne(t *testing.T) {
	p := newPoolRig(t, kindHTTP2, 1)
	p.room = 1
	p.requests(3)
	for range 3 {
		p.do(func() {}) // the next dial is made in the turn in which one ends
		before := len(p.cores)
		addr := p.endpoints[0].Addr()
		p.dials[addr] <- dialed{conn: p.socket()}
		p.eventually("a connection", func() (more bool) {
			p.do(func() { more = len(p.cores) > before })
			return more
		})
	}
	if n := p.dialling(0); n != 0 {
		t.Errorf("%d dials", n)
	}
	for _, c := range p.cores {
		p.answerAll(c)
	}
	p.wantMetric("requests_total", map[string]int{"2xx": 3})
	p.wantIdle()
}

// TestRoomAndDialFails: nobody waits for a connection that is full, or goes
// away, for as long as its streams live.
func TestRoomAndDialFails(t *testing.T) {
	p := newPoolRig(t, kindHTTP2, 2)
	p.room = 1
	p.requests(1)
	first := p.connect(0)
	down := p.requests(1)[0]
	p.endDial(0, nil, reason.ConnectRefused)
	second := p.connect(1)
	p.answerAll(second)
	if down.status() != 200 {
		t.Errorf("status %d", down.status())
	}
	p.answerAll(first)
	p.wantIdle()
}

// TestMaxHTTP2Conns: an endpoint that allows few streams gets a bounded number
// of connections.
func TestMaxHTTP2Conns(t *testing.T) {
	p := newPoolRig(t, kindHTTP2, 1)
	p.room = 1
	for range DefaultLimits().MaxEndpointConns {
		p.requests(1)
		p.connect(0)
	}
	down := p.requests(1)[0]
	if n := p.dialling(0); n != 0 {
		t.Errorf("%d dials", n)
	}
	p.wantMetric("limit_hits_total", map[string]int{"endpoint-connections": 1})
	p.answerAll(p.cores[7])
	p.answerAll(p.cores[7])
	if down.status() != 200 {
		t.Errorf("status %d", down.status())
	}
	for _, c := range p.cores {
		p.answerAll(c)
	}
	p.wantIdle()
}
