// SPDX-License-Identifier: Apache-2.0

package h1_test

import (
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/h1"
	"github.com/shuntmesh/shunt/proxy/message"
)

// answers are responses to GET, with what a handler is to hear of them and
// what becomes of the connection.
var answers = []struct{ rfc, in, want, state string }{
	{"9112 6.3", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 length=5 content-length=\"5\"\ndata \"hello\"\nend\n", ""},
	{"9112 6.3 nothing", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200 length=0 content-length=\"0\"\nend\n", ""},
	{"9112 4 no phrase", "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n", "299 length=0 content-length=\"0\"\nend\n", ""},
	{"9112 4 not even a space", "HTTP/1.1 299\r\nContent-Length: 0\r\n\r\n", "299 length=0 content-length=\"0\"\nend\n", ""},
	{"9112 4 any phrase", "HTTP/1.1 999 \xe9 t\to\r\nContent-Length: 0\r\n\r\n", "999 length=0 content-length=\"0\"\nend\n", ""},
	{"9110 15.3.5", "HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n", "204 x=\"1\"\nend\n", ""},
	{"9110 15.4.5", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "304 length=5 content-length=\"5\"\nend\n", ""},
	{"9110 15.2", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "100\n103 link=\"x\"\n204\nend\n", ""},
	{"9112 7.1", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "200\ndata \"hello!\"\nend\n", ""},
	{"9112 7.1.2", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: 1\r\n\r\n", "200\ndata \"a\"\ntrailers x=\"1\"\nend\n", ""},
	{"9112 6.3 to the end", "HTTP/1.1 200 OK\r\n\r\nhello", "200\ndata \"hello\"\n", ""},
	{"9112 9.3 close", "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\na", "200 length=1 content-length=\"1\"\ndata \"a\"\nend\n", "closed"},
	{"9112 9.3 HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", "200 length=1 content-length=\"1\"\ndata \"a\"\nend\n", "closed"},
	{"9112 C.2.2 HTTP/1.0 persists", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", "200 length=1 content-length=\"1\"\ndata \"a\"\nend\n", ""},
	{"9110 7.8 offered", "HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n", "426 length=0 protocol=h2c content-length=\"0\"\nend\n", ""},
	{"9110 host is an ordinary field", "HTTP/1.1 204 No Content\r\nHost: x\r\nHost: y z\r\n\r\n", "204 host=\"x\" host=\"y z\"\nend\n", ""},
	{"9112 9.2 more than was asked for", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "204\nend\n", "closed"},
	{"9110 15.3.5 content nevertheless", "HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\na", "204 length=1 content-length=\"1\"\nend\n", "closed"},
}

func TestResponses(t *testing.T) {
	for _, test := range answers {
		everySplit(t, test.in, func(t *testing.T, pieces []string) {
			c, r := newClient(h1.Options{}), &recorder{}
			c.Open(r).SendHead(get("/"), true)
			for _, p := range pieces {
				c.feed(p)
			}
			equal(t, test.rfc, r.text(), test.want)
			equal(t, test.rfc+": connection", c.wire.state(), test.state)
			if room := c.Room() == 1; room != (strings.HasSuffix(test.want, "end\n") && test.state == "") {
				t.Errorf("%s: room %v", test.rfc, room)
			}
		})
	}
}

const malformed = "reset PROTOCOL_ERROR unprocessed=false malformed=true\n"

func TestMalformedResponses(t *testing.T) {
	const fine = "HTTP/1.1 200 OK\r\n"
	for _, test := range []struct{ rfc, in string }{
		{"9112 2.2", "HTTP/1.1 200 OK\n\r\n"},
		{"9112 2.2 empty line before", "\r\nHTTP/1.1 200 OK\r\n\r\n"},
		{"9112 2.3", "HTTP/2.0 200 OK\r\n\r\n"},
		{"9112 4 other protocol", "220 smtp.example.com ESMTP\r\n"},
		{"9112 4 no status", "HTTP/1.1 \r\n\r\n"},
		{"9112 4 two digits", "HTTP/1.1 20 OK\r\n\r\n"},
		{"9112 4 four digits", "HTTP/1.1 2000 OK\r\n\r\n"},
		{"9112 4 letters", "HTTP/1.1 2xx OK\r\n\r\n"},
		{"9112 4 below 100", "HTTP/1.1 099 OK\r\n\r\n"},
		{"9112 4 two spaces", "HTTP/1.1  200 OK\r\n\r\n"},
		{"9112 4 control character", "HTTP/1.1 200 \x01\r\n\r\n"},
		{"9112 5.1", fine + "X : y\r\n\r\n"},
		{"9112 5.2", fine + "X: y\r\n z\r\n\r\n"},
		{"9112 6.1 both", fine + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"},
		{"9112 6.1 coding", fine + "Transfer-Encoding: gzip\r\n\r\n"},
		{"9112 6.1 HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"9112 6.3", fine + "Content-Length: 3\r\nContent-Length: 4\r\n\r\n"},
		{"9112 7.1", fine + "Transfer-Encoding: chunked\r\n\r\nx"},
		{"9110 7.8 not asked for", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"},
		{"6585 5", fine + strings.Repeat("X: 0123456789\r\n", 90)},
		{"interim responses without end", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 101)},
	} {
		everySplit(t, test.in, func(t *testing.T, pieces []string) {
			c, r := newClient(h1.Options{Limits: h1.Limits{MaxHeaderBytes: 1024}}), &recorder{}
			c.Open(r).SendHead(get("/"), true)
			for _, p := range pieces {
				c.feed(p)
			}
			if !strings.HasSuffix(r.text(), malformed) || c.wire.state() != "closed" || c.Room() != 0 || c.changes != 1 {
				t.Errorf("%s: %q: %s, room %d", test.rfc, r.text(), c.wire.state(), c.Room())
			}
		})
	}
}

// TestHeadHasNoContent: what a response to HEAD says of its content is about GET.
func TestHeadHasNoContent(t *testing.T) {
	for _, field := range []string{"Content-Length: 5", "Transfer-Encoding: chunked", "X: y"} {
		c, r := newClient(h1.Options{}), &recorder{}
		h := get("/")
		h.Method = "HEAD"
		c.Open(r).SendHead(h, true)
		c.feed("HTTP/1.1 200 OK\r\n" + field + "\r\n\r\n")
		if !strings.HasSuffix(r.text(), "end\n") || c.Room() != 1 {
			t.Errorf("%s: %q, room %d", field, r.text(), c.Room())
		}
	}
}

// TestEndOfConnection is about a server that closes, in each state.
func TestEndOfConnection(t *testing.T) {
	const once = "HTTP/1.1 204 No Content\r\n\r\n"
	for _, test := range []struct{ name, before, in, end, closed string }{
		{"new connection, nothing", "", "", "reset INTERNAL_ERROR unprocessed=false malformed=false\n", ""},
		{"used connection, nothing", once, "", "reset REFUSED_STREAM unprocessed=true malformed=false\n", ""},
		{"used connection, one octet", once, "H", "reset INTERNAL_ERROR unprocessed=false malformed=false\n", ""},
		{"used connection, interim", once, "HTTP/1.1 100 Continue\r\n\r\n", "100\nreset INTERNAL_ERROR unprocessed=false malformed=false\n", ""},
		{"in content", "", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "200 length=5 content-length=\"5\"\ndata \"hell\"\nreset INTERNAL_ERROR unprocessed=false malformed=false\n", ""},
		{"in a chunk", "", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", "200\ndata \"hello\"\nreset INTERNAL_ERROR unprocessed=false malformed=false\n", ""},
		{"of content", "", "HTTP/1.1 200 OK\r\n\r\nhello", "200\ndata \"hello\"\nend\n", "200\ndata \"hello\"\nreset INTERNAL_ERROR unprocessed=false malformed=false\n"},
	} {
		for _, fin := range []bool{true, false} {
			c, r := newClient(h1.Options{}), &recorder{}
			if test.before != "" {
				c.Open(&recorder{}).SendHead(get("/"), true)
				c.feed(test.before)
			}
			c.Open(r).SendHead(get("/"), true)
			c.feed(test.in)
			want := test.end
			if fin {
				if err := c.End(); err != nil || c.wire.state() != "closed" {
					t.Errorf("%s: %v, %s", test.name, err, c.wire.state())
				}
			} else if test.closed != "" {
				want = test.closed
			}
			c.Closed(nil)
			equal(t, test.name, r.text(), want)
			if c.Room() != 0 {
				t.Errorf("%s: room", test.name)
			}
		}
	}
}

func TestIdleConnection(t *testing.T) {
	t.Run("closed", func(t *testing.T) {
		c := newClient(h1.Options{})
		if c.Room() != 1 {
			t.Fatal("a new connection has no room")
		}
		c.End()
		equal(t, "connection", c.wire.state(), "closed")
		if c.Room() != 0 || c.changes != 1 {
			t.Errorf("room %d, told %d times", c.Room(), c.changes)
		}
		c.Open(&recorder{}).SendHead(get("/"), true)
		equal(t, "sent without room", c.wire.take(), "")
	})
	t.Run("unexpected bytes", func(t *testing.T) {
		c := newClient(h1.Options{})
		if err := c.feed("HTTP/1.1 408 Request Timeout\r\n\r\n"); err == nil || c.Room() != 0 || c.changes != 1 {
			t.Errorf("%v, room %d, told %d times", err, c.Room(), c.changes)
		}
	})
	t.Run("no room with unexpected bytes behind", func(t *testing.T) {
		c := newClient(h1.Options{})
		room := 0
		c.Open(&recorder{onData: func([]byte, bool) { room += c.Room() }}).SendHead(get("/1"), true)
		c.feed("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 smuggled\r\n\r\n")
		if room != 0 {
			t.Error("room, within the last call")
		}
	})
	t.Run("room again within the last call", func(t *testing.T) {
		c := newClient(h1.Options{})
		next := &recorder{}
		first := &recorder{onData: func(_ []byte, end bool) {
			if end {
				c.Open(next).SendHead(get("/2"), true)
			}
		}}
		s := c.Open(first)
		s.SendHead(get("/1"), true)
		if c.Room() != 0 || c.Streams() != 1 {
			t.Error("room within a request")
		}
		c.wire.take()
		c.feed("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
		equal(t, "second request", c.wire.take(), "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
		s.SendData([]byte("late"), true)
		s.Credit(1)
		s.Reset(message.Cancel)
		equal(t, "of a stream that is over", c.wire.take()+c.wire.state(), "")
		c.feed("HTTP/1.1 204 No Content\r\n\r\n")
		if equal(t, "second answer", next.text(), "204\nend\n"); c.Streams() != 0 {
			t.Error("a request that has its answer is in progress")
		}
	})
}

// TestEarlyResponse: a response that ends before its request does passes, and
// the connection is not used again.
func TestEarlyResponse(t *testing.T) {
	c, r := newClient(h1.Options{}), &recorder{}
	s := c.Open(r)
	h := get("/")
	h.Method = "POST"
	s.SendHead(h, false)
	s.SendData([]byte("abc"), false)
	c.feed("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
	equal(t, "heard", r.text(), "413 length=0 content-length=\"0\"\nend\n")
	equal(t, "connection", c.wire.state(), "reset")
	c.wire.take()
	s.SendData([]byte("more"), true)
	equal(t, "sent after the end", c.wire.take(), "")
	c.Closed(nil)
	equal(t, "heard", r.text(), "413 length=0 content-length=\"0\"\nend\n")
}

// TestFullDuplex: a response may begin before its request has ended.
func TestFullDuplex(t *testing.T) {
	c, r := newClient(h1.Options{}), &recorder{}
	s := c.Open(r)
	h := get("/")
	h.Method = "POST"
	s.SendHead(h, false)
	c.feed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
	c.wire.take()
	s.SendData([]byte("abc"), true)
	equal(t, "sent", c.wire.take(), "3\r\nabc\r\n0\r\n\r\n")
	c.feed("b")
	equal(t, "heard", r.text(), "200 length=2 content-length=\"2\"\ndata \"ab\"\nend\n")
	if c.Room() != 1 {
		t.Error("no room afterwards")
	}
}
