// SPDX-License-Identifier: Apache-2.0

package h1_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/h1"
	"github.com/shuntmesh/shunt/proxy/message"
)

func post(length int64, fields ...string) *message.Head {
	h := get("/")
	h.Method, h.ContentLength = "POST", length
	for i := 0; i < len(fields); i += 2 {
		with(h, fields[i], fields[i+1])
	}
	return h
}

// TestWritesRequests: golden bytes of heads as they come from HTTP/2, and of
// what follows them.
func TestWritesRequests(t *testing.T) {
	for _, test := range []struct {
		name string
		send func(message.Stream)
		want string
	}{
		{"no content", func(s message.Stream) { s.SendHead(get("/x?y"), true) }, "GET /x?y HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"fields", func(s message.Stream) { s.SendHead(with(with(get("/"), "x", "1"), "x", ""), true) }, "GET / HTTP/1.1\r\nHost: a\r\nx: 1\r\nx: \r\n\r\n"},
		{"no length for GET", func(s message.Stream) { s.SendHead(get("/"), false); s.SendData(nil, true) }, "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"POST of nothing", func(s message.Stream) { s.SendHead(post(-1, "x", "y"), true) }, "POST / HTTP/1.1\r\nHost: a\r\nx: y\r\nContent-Length: 0\r\n\r\n"},
		{"length in its place", func(s message.Stream) {
			s.SendHead(post(2, "a", "1", "content-length", "2", "b", "2"), false)
			s.SendData([]byte("h"), false)
			s.SendData([]byte("i"), true)
		}, "POST / HTTP/1.1\r\nHost: a\r\na: 1\r\nContent-Length: 2\r\nb: 2\r\n\r\nhi"},
		{"length without a field", func(s message.Stream) { s.SendHead(post(1), false); s.SendData([]byte("h"), true) }, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nh"},
		{"field without a length", func(s message.Stream) {
			s.SendHead(post(-1, "content-length", "7", "transfer-encoding", "x", "connection", "x", "keep-alive", "1", "upgrade", "x", "host", "x", "proxy-connection", "x"), false)
			s.SendData([]byte("0123456789abcdef"), false)
			s.SendData(nil, false)
			s.SendData([]byte("x"), true)
		}, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n1\r\nx\r\n0\r\n\r\n"},
		{"trailers", func(s message.Stream) {
			s.SendHead(post(-1), false)
			s.SendHead(with(trailers(), "x", "1"), true)
		}, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: 1\r\n\r\n"},
		{"trailers behind a length", func(s message.Stream) {
			s.SendHead(post(1), false)
			s.SendData([]byte("h"), false)
			s.SendHead(with(trailers(), "x", "1"), true)
		}, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nh"},
		{"TE", func(s message.Stream) { s.SendHead(with(get("/"), "te", "trailers"), true) }, "GET / HTTP/1.1\r\nHost: a\r\nte: trailers\r\nConnection: TE\r\n\r\n"},
		{"Upgrade and TE", func(s message.Stream) {
			h := with(get("/"), "te", "trailers")
			h.Protocol = "websocket"
			s.SendHead(h, true)
		}, "GET / HTTP/1.1\r\nHost: a\r\nte: trailers\r\nConnection: TE, Upgrade\r\nUpgrade: websocket\r\n\r\n"},
		{"CONNECT", func(s message.Stream) {
			s.SendHead(&message.Head{Kind: message.Request, Method: "CONNECT", Authority: "b:1", ContentLength: -1}, false)
		}, "CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n"},
	} {
		c := newClient(h1.Options{})
		test.send(c.Open(&recorder{}))
		equal(t, test.name, c.wire.take(), test.want)
		equal(t, test.name, c.wire.state(), "")
	}
}

// TestUnwritableRequests: HTTP/2 could carry more than HTTP/1.1 can say.
func TestUnwritableRequests(t *testing.T) {
	for name, h := range map[string]*message.Head{
		"space in path":      get("/a b"),
		"smuggled request":   get("/ HTTP/1.1\r\nHost: b\r\n\r\nGET /"),
		"no path":            {Kind: message.Request, Method: "GET", ContentLength: -1},
		"method":             {Kind: message.Request, Method: "GET /", Path: "/", ContentLength: -1},
		"authority":          {Kind: message.Request, Method: "GET", Path: "/", Authority: "a\r\nX: y", ContentLength: -1},
		"protocol":           {Kind: message.Request, Method: "GET", Path: "/", Protocol: "x\r\nY: z", ContentLength: -1},
		"pseudo-header":      with(get("/"), ":path", "/"),
		"space behind name":  with(get("/"), "content-length ", "5"),
		"length and no data": post(5),
	} {
		c, r := newClient(h1.Options{}), &recorder{}
		c.Open(r).SendHead(h, true)
		equal(t, name, c.wire.take(), "")
		equal(t, name, c.wire.state(), "reset")
		c.Closed(nil)
		equal(t, name, r.text(), "reset INTERNAL_ERROR unprocessed=false malformed=false\n")
	}
}

// TestWritesResponses: golden bytes of the response to one request.
func TestWritesResponses(t *testing.T) {
	const old, head = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
	streaming := func(s message.Stream) {
		s.SendHead(status(200, -1), false)
		s.SendData([]byte("hi"), false)
		s.SendHead(with(trailers(), "x", "1"), true)
	}
	for _, test := range []struct {
		name, request string
		send          func(message.Stream)
		want, state   string
	}{
		{"chunks", getA, streaming, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx: 1\r\n\r\n", ""},
		{"HTTP/1.0 has no chunks", old, streaming, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi", "closed"},
		{"HEAD has no content", head, streaming, "HTTP/1.1 200 OK\r\n\r\n", ""},
		{"HEAD may have a length", head, func(s message.Stream) { s.SendHead(status(200, 7), true) }, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", ""},
		{"304 as well", getA, func(s message.Stream) { s.SendHead(status(304, 7), true) }, "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", ""},
		{"204 must not", getA, func(s message.Stream) { s.SendHead(with(status(204, 0), "content-length", "0"), true) }, none, ""},
		{"nothing", getA, func(s message.Stream) { s.SendHead(status(200, -1), true) }, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""},
		{"unknown status", getA, func(s message.Stream) { s.SendHead(status(299, 0), true) }, "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n", ""},
		{"interim", getA, func(s message.Stream) {
			s.SendHead(with(status(103, -1), "link", "x"), false)
			s.SendHead(status(204, -1), true)
		}, "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + none, ""},
		{"426 offers", getA, func(s message.Stream) {
			h := status(426, 0)
			h.Protocol = "h2c"
			s.SendHead(h, true)
		}, "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", ""},
		{"200 does not", getA, func(s message.Stream) {
			h := status(200, 0)
			h.Protocol = "h2c"
			s.SendHead(h, true)
		}, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""},
	} {
		s := newServer(h1.Options{})
		s.feed(test.request)
		test.send(s.streams[0])
		equal(t, test.name, s.wire.take(), test.want)
		equal(t, test.name, s.wire.state(), test.state)
	}
}

func TestStatusLine(t *testing.T) {
	for code := 100; code < 1000; code++ {
		if code == 101 {
			continue
		}
		s := newServer(h1.Options{})
		s.feed(getA)
		s.streams[0].SendHead(status(code, -1), false)
		line, _, _ := strings.Cut(s.wire.take(), "\r\n")
		equal(t, "status line", line, fmt.Sprintf("HTTP/1.1 %d %s", code, http.StatusText(code)))
	}
}

// TestSameHeadInAnotherForm: what is remembered of a Stable head is not sent
// where another form of it is due.
func TestSameHeadInAnotherForm(t *testing.T) {
	h := with(status(200, -1), "x", "1")
	h.Stable = true
	for range 3 {
		for _, test := range []struct{ request, want string }{
			{getA, "HTTP/1.1 200 OK\r\nx: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
			{"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nx: 1\r\n\r\n"},
			{"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\nx: 1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"},
		} {
			s := newServer(h1.Options{})
			for range 3 { // it is remembered in one form
				s.feed(getA)
				s.streams[len(s.streams)-1].SendHead(h, false)
				s.streams[len(s.streams)-1].SendData(nil, true)
			}
			s.wire.take()
			s.feed(test.request)
			s.streams[3].SendHead(h, false)
			s.streams[3].SendData(nil, true)
			equal(t, test.request, s.wire.take(), test.want)
		}
	}
}
