// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/message"
	"github.com/shuntmesh/shunt/proxy/reason"
)

// fakePeer is a fakeServer that says what it takes.
type fakePeer struct {
	*fakeServer
	settled, connects, small, acked bool
}

func (f *fakePeer) Settled() bool           { return f.settled }
func (f *fakePeer) ConnectProtocol() bool   { return f.connects }
func (f *fakePeer) Fits(*message.Head) bool { return !f.small }
func (f *fakePeer) SettingsDue() bool       { return !f.acked }

// newPeerRig has one endpoint, whose connections are copies of like.
func newPeerRig(t *testing.T, like fakePeer) (*poolRig, *[]*fakePeer) {
	t.Helper()
	p, peers := newPoolRig(t, kindHTTP2, 1), &[]*fakePeer{}
	plain := p.shard.pool.newCore
	p.shard.pool.newCore = func(g *group, c *loop.Conn, changed func()) core {
		f := like
		f.fakeServer = plain(g, c, changed).(*fakeServer)
		*peers = append(*peers, &f)
		return &f
	}
	return p, peers
}

// webSocket asks for a tunnel (RFC 8441, section 5).
func webSocket() *message.Head {
	h := request()
	h.Method, h.Protocol = "CONNECT", "websocket"
	return h
}

// TestExtendedConnectWaits: it is sent when SETTINGS have said that it may be;
// other requests do not wait.
func TestExtendedConnectWaits(t *testing.T) {
	p, peers := newPeerRig(t, fakePeer{})
	tunnel := p.request(webSocket(), false)
	p.connect(0)
	other := p.request(request(), true)
	f := (*peers)[0]
	if len(f.streams) != 1 || p.dialling(0) != 0 {
		t.Fatalf("%d streams, %d dials before SETTINGS", len(f.streams), p.dialling(0))
	}
	p.do(func() {
		f.settled, f.connects = true, true
		f.changed()
	})
	if len(f.streams) != 2 || f.streams[1].heads[0].Protocol != "websocket" {
		t.Fatalf("%d streams after SETTINGS", len(f.streams))
	}
	p.answerAll(f.fakeServer)
	if tunnel.status() != 200 || other.status() != 200 {
		t.Errorf("status %d and %d", tunnel.status(), other.status())
	}
}

// TestExtendedConnectIsRefused: an endpoint that does not take it never sees it.
func TestExtendedConnectIsRefused(t *testing.T) {
	p, peers := newPeerRig(t, fakePeer{settled: true})
	early := p.request(webSocket(), false)
	p.connect(0)
	late := p.request(webSocket(), false)
	for _, down := range []*fakeStream{early, late} {
		if down.status() != 501 || down.get("shunt-error") != "no-connect" {
			t.Errorf("status %d, error %q", down.status(), down.get("shunt-error"))
		}
	}
	if n := len((*peers)[0].streams); n != 0 {
		t.Errorf("%d streams", n)
	}
	p.wantMetric("requests_total", map[string]int{"5xx": 2})
	p.wantIdle()
}

// TestExtendedConnectIsLost: whose connection closes before SETTINGS is sent on
// another, for nothing was sent yet; whose client goes is forgotten.
func TestExtendedConnectIsLost(t *testing.T) {
	p, peers := newPeerRig(t, fakePeer{})
	down := p.request(webSocket(), false)
	gone := p.request(webSocket(), false)
	p.connect(0)
	p.do(func() { gone.onReset(message.Reset{Code: message.Cancel}) })
	p.peers[0].SetLinger(0)
	p.peers[0].Close()
	p.eventually("a dial", func() bool { return p.dialling(0) == 1 })
	p.connect(0)
	second := (*peers)[1]
	p.do(func() {
		second.settled, second.connects = true, true
		second.changed()
	})
	p.answerAll(second.fakeServer)
	p.do(func() {}) // the tunnel goes on
	if down.status() != 200 || len(second.streams) != 1 || len((*peers)[0].streams) != 0 {
		t.Errorf("status %d, %d streams", down.status(), len(second.streams))
	}
	p.do(func() { down.onReset(message.Reset{Code: message.Cancel}) })
	p.wantIdle()
}

// TestTooLargeForEndpoint: a request that the endpoint has said it does not take
// is answered as one that we do not take.
func TestTooLargeForEndpoint(t *testing.T) {
	p, _ := newPeerRig(t, fakePeer{settled: true, small: true})
	down := p.request(request(), true)
	call := p.request(grpcRequest(), true)
	p.connect(0)
	if down.status() != 431 || down.get("shunt-error") != string(reason.HeaderTooLarge) {
		t.Errorf("status %d, error %q", down.status(), down.get("shunt-error"))
	}
	if call.get("grpc-status") != "8" {
		t.Errorf("grpc-status %q", call.get("grpc-status"))
	}
	p.wantMetric("errors_total", map[string]int{"header-too-large": 2})
	p.wantIdle()
}

// TestEndpointSettingsTimeout: an endpoint that does not acknowledge SETTINGS is
// not used any more; one that does is.
func TestEndpointSettingsTimeout(t *testing.T) {
	for _, acked := range []bool{false, true} {
		p, peers := newPeerRig(t, fakePeer{settled: true, acked: acked})
		p.shard.options.Limits.SettingsTimeout = 20 * time.Millisecond
		p.requests(1)
		p.connect(0)
		if !acked {
			p.eventually("the limit", func() bool { return p.metrics("limit_hits_total")["settings-timeout"] == 1 })
			p.do(func() {
				for _, g := range p.shard.pool.groups {
					if len(g.ready) > 0 {
						t.Error("it is still used")
					}
				}
			})
			continue
		}
		time.Sleep(60 * time.Millisecond)
		p.answerAll((*peers)[0].fakeServer)
		p.wantMetric("limit_hits_total", map[string]int{})
		p.do(func() {
			for _, g := range p.shard.pool.groups {
				c := g.conns[0]
				c.look()
				c.look()
			}
		})
		if err := p.peerSees(0); !errors.Is(err, io.EOF) {
			t.Errorf("it is not looked at any more: %v", err)
		}
	}
}
