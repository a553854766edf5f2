// SPDX-License-Identifier: Apache-2.0

package h1_test

import (
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/h1"
	"github.com/shuntmesh/shunt/proxy/message"
)

const (
	upgrade  = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	connect  = "CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n"
)

// tunnels are the two ways to one, with what makes and what refuses them.
var tunnels = map[string]struct {
	request, answer, heard string
	agree                  *message.Head
	refuse                 string // what is sent for a refusal with 403
	closed                 string // what it makes of the connection
}{
	"Upgrade": {
		upgrade, switched, "GET http://a /chat protocol=websocket\nend\n",
		&message.Head{Kind: message.Response, Status: 101, Protocol: "websocket", ContentLength: -1},
		"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "",
	},
	"CONNECT": {
		connect, "HTTP/1.1 200 OK\r\n\r\n", "CONNECT http://b:1 b:1\n",
		&message.Head{Kind: message.Response, Status: 200, ContentLength: -1},
		"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "closed",
	},
}

func TestServerTunnel(t *testing.T) {
	for name, tunnel := range tunnels {
		for _, later := range []bool{false, true} {
			var queue []func()
			o := h1.Options{}
			if later {
				o.Later = func(f func()) { queue = append(queue, f) }
			}
			everySplit(t, tunnel.request+"early", func(t *testing.T, pieces []string) {
				s := newServer(o)
				for _, p := range pieces {
					s.feed(p)
				}
				st := s.streams[0]
				equal(t, name+": heard too early", s.text(), tunnel.heard)
				st.SendHead(tunnel.agree, false)
				for ; len(queue) > 0; queue = queue[1:] {
					equal(t, name+": within SendHead", s.text(), tunnel.heard)
					queue[0]()
				}
				st.SendData([]byte("down"), false)
				equal(t, name+": sent", s.wire.take(), tunnel.answer+"down")
				s.feed(" up")
				s.End()
				equal(t, name+": heard", s.text(), tunnel.heard+"data \"early up\"\nend\n")
				equal(t, name+": half closed", s.wire.state(), "")
				st.SendData([]byte("last"), true)
				equal(t, name+": ended", s.wire.take()+s.wire.state(), "lastclosed")
			})
		}
	}
}

// TestServerTunnelEndsFirst is the other order: our end, then the client's.
func TestServerTunnelEndsFirst(t *testing.T) {
	s := newServer(h1.Options{})
	s.feed(upgrade)
	s.streams[0].SendHead(tunnels["Upgrade"].agree, false)
	s.streams[0].SendData(nil, true)
	equal(t, "our end", s.wire.state(), "fin")
	s.feed("up")
	s.End()
	equal(t, "its end", s.wire.state(), "closed")
	equal(t, "heard", s.text(), tunnels["Upgrade"].heard+"data \"up\"\nend\n")
}

// TestClientEndedAlready: its end came with the request.
func TestClientEndedAlready(t *testing.T) {
	s := newServer(h1.Options{})
	s.feed(upgrade + "early")
	s.End()
	equal(t, "heard", s.text(), tunnels["Upgrade"].heard)
	s.streams[0].SendHead(tunnels["Upgrade"].agree, false)
	equal(t, "heard", s.text(), tunnels["Upgrade"].heard+"data \"early\"\nend\n")
}

func TestServerRefusesTunnel(t *testing.T) {
	for name, tunnel := range tunnels {
		s := newServer(h1.Options{})
		s.feed(tunnel.request)
		s.streams[0].SendHead(status(403, 0), true)
		equal(t, name, s.wire.take(), tunnel.refuse)
		equal(t, name, s.wire.state(), tunnel.closed)
	}
}

func TestClientTunnel(t *testing.T) {
	for name, tunnel := range tunnels {
		everySplit(t, tunnel.answer+"down", func(t *testing.T, pieces []string) {
			c, r := newClient(h1.Options{}), &recorder{}
			s := c.Open(r)
			isConnect := name == "CONNECT"
			h := get("/chat")
			h.Protocol = "websocket"
			if isConnect {
				h = &message.Head{Kind: message.Request, Method: "CONNECT", Authority: "b:1", ContentLength: -1}
			}
			s.SendHead(h, !isConnect)
			equal(t, name+": asked", c.wire.take(), tunnel.request)
			if isConnect {
				s.SendData([]byte("early "), false)
				equal(t, name+": sent too early", c.wire.take(), "")
				if s.Unsent() != 6 {
					t.Errorf("%d unsent", s.Unsent())
				}
			}
			for _, p := range pieces {
				c.feed(p)
			}
			equal(t, name+": before our end", c.wire.state(), "")
			s.SendData([]byte("up"), true)
			equal(t, name+": sent", c.wire.take(), map[bool]string{true: "early up", false: "up"}[isConnect])
			equal(t, name+": our end", c.wire.state(), "fin")
			c.feed(" more")
			c.End()
			equal(t, name+": heard", r.text(), describe(tunnel.agree)+"\ndata \"down more\"\nend\n")
			equal(t, name+": its end", c.wire.state(), "closed")
			if isConnect && r.drains != 1 {
				t.Errorf("drained %d times", r.drains)
			}
		})
	}
}

// TestConnectAnswerHasNoContent (RFC 9110, 9.3.6).
func TestConnectAnswerHasNoContent(t *testing.T) {
	for _, field := range []string{"Content-Length: 3", "Transfer-Encoding: chunked"} {
		c, r := newClient(h1.Options{}), &recorder{}
		s := c.Open(r)
		s.SendHead(&message.Head{Kind: message.Request, Method: "CONNECT", Authority: "b:1", ContentLength: -1}, false)
		s.SendData([]byte("x"), true)
		c.feed("HTTP/1.1 200 OK\r\n" + field + "\r\n\r\nabcd")
		equal(t, field, r.text(), "200\ndata \"abcd\"\n")
		equal(t, field, c.wire.state(), "fin")
	}
}

// TestConnectRefused: content passes, and the connection is of no more use.
func TestConnectRefused(t *testing.T) {
	c, r := newClient(h1.Options{}), &recorder{}
	s := c.Open(r)
	s.SendHead(&message.Head{Kind: message.Request, Method: "CONNECT", Authority: "b:1", ContentLength: -1}, false)
	c.wire.take()
	s.SendData([]byte("secret"), false)
	c.feed("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
	equal(t, "heard", r.text(), "403 length=2 content-length=\"2\"\ndata \"no\"\nend\n")
	if equal(t, "sent", c.wire.take(), ""); c.wire.state() == "" || c.Room() != 0 {
		t.Errorf("connection %q, room %d", c.wire.state(), c.Room())
	}
}

// TestSwitchTooEarly: nothing can be switched to within a request.
func TestSwitchTooEarly(t *testing.T) {
	c, r := newClient(h1.Options{}), &recorder{}
	h := get("/")
	h.Method, h.Protocol, h.ContentLength = "POST", "x", 5
	c.Open(r).SendHead(h, false)
	c.feed(switched)
	equal(t, "heard", r.text(), malformed)

	s := newServer(h1.Options{})
	s.feed(strings.Replace(upgrade, "\r\n\r\n", "\r\nContent-Length: 5\r\n\r\n", 1))
	s.streams[0].SendHead(tunnels["Upgrade"].agree, false)
	equal(t, "connection", s.wire.state(), "reset")
}
