// SPDX-License-Identifier: Apache-2.0

package h1_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/h1"
	"github.com/shuntmesh/shunt/proxy/message"
)

// whole are requests with what a handler is to hear of them.
var whole = []struct{ rfc, in, want string }{
	{"9112 2.1", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://a /\nend\n"},
	{"9112 2.2 empty line before", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://a /\nend\n"},
	{"9112 3.1 own method", "M-SEARCH /x HTTP/1.1\r\nHost: a\r\n\r\n", "M-SEARCH http://a /x\nend\n"},
	{"9112 3.2 target as written", "GET //a/../b%2Fc?x=1&&y=%zz HTTP/1.1\r\nHost: a:81\r\n\r\n", "GET http://a:81 //a/../b%2Fc?x=1&&y=%zz\nend\n"},
	{"9112 3.2 beyond ASCII", "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://a /\xc3\xa4\nend\n"},
	{"9112 3.2 empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET http:// /\nend\n"},
	{"9112 3.2 IPv6 Host", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET http://[::1]:80 /\nend\n"},
	{"9112 3.2.2 authority of target beats Host", "GET http://b:8/p?q HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://b:8 http://b:8/p?q\nend\n"},
	{"9112 3.2.2 no path", "GET HTTP://b?q HTTP/1.1\r\nHost: b\r\n\r\n", "GET http://b HTTP://b?q\nend\n"},
	{"9112 3.2.3 CONNECT", "CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT http://b:443 b:443\n"},
	{"9112 3.2.4 asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS http://a *\nend\n"},
	{"9110 5.1 names", "GET / HTTP/1.1\r\nHost: a\r\nX-One:1\r\nx!#$%&'*+-.^_`|~9: \t2 \t\r\nX-ONE:\r\n\r\n", "GET http://a / x-one=\"1\" x!#$%&'*+-.^_`|~9=\"2\" x-one=\"\"\nend\n"},
	{"9110 5.5 values", "GET / HTTP/1.1\r\nHost: a\r\nX: a\tb \xe9:,;\r\n\r\n", "GET http://a / x=\"a\\tb \\xe9:,;\"\nend\n"},
	{"9112 6.2", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "PUT http://a / length=5 content-length=\"5\"\ndata \"hello\"\nend\n"},
	{"9112 6.2 none", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "PUT http://a / length=0 content-length=\"0\"\nend\n"},
	{"9112 6.3 twice the same", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "PUT http://a / length=2 content-length=\"2\"\ndata \"hi\"\nend\n"},
	{"9110 8.6 zeros", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 002\r\n\r\nhi", "PUT http://a / length=2 content-length=\"2\"\ndata \"hi\"\nend\n"},
	{"9112 7.1", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", "PUT http://a /\ndata \"abc0123456789\"\nend\n"},
	{"9112 7.1 only the last", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n000\r\n\r\n", "PUT http://a /\nend\n"},
	{"9112 7.1.1 extensions", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n1; y=\"z;\" \r\nd\r\n0;\r\n\r\n", "PUT http://a /\ndata \"abcd\"\nend\n"},
	{"9112 7.1.2 trailers", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n", "PUT http://a / trailer=\"X-Sum\"\ndata \"a\"\ntrailers x-sum=\"7\"\nend\n"},
	{"9110 6.5.1 not in trailers", "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 7\r\nTransfer-Encoding: x\r\nTE: trailers\r\n\r\n", "PUT http://a /\nend\n"},
	{"9110 7.6.1", "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Mine, keep-alive\r\nKeep-Alive: 5\r\nX-Mine: 1\r\nProxy-Connection: x\r\nTE: gzip\r\nUpgrade: no\r\nx-mine: 2\r\nB: 3\r\n\r\n", "GET http://a / b=\"3\"\nend\n"},
	{"9110 7.6.1 not the length", "PUT / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 1\r\n\r\nx", "PUT http://a / length=1 content-length=\"1\"\ndata \"x\"\nend\n"},
	{"9110 10.1.4", "GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: deflate;q=0.5, Trailers\r\n\r\n", "GET http://a / te=\"trailers\"\nend\n"},
	{"9110 7.8", "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", "GET http://a / protocol=websocket\nend\n"},
	{"9110 5.3 two lines", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: a\r\nUpgrade: b\r\nTE: trailers\r\nTE: trailers\r\n\r\n", "GET http://a / protocol=a, b te=\"trailers\"\nend\n"},
	{"9110 7.8 not in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "GET http://a /\nend\n"},
	{"9113 3.1 h2c", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEA\r\n\r\n", "GET http://a /\nend\n"},
	{"9110 10.1.1", "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", "PUT http://a / length=1 expect=\"100-continue\" content-length=\"1\"\n"},
	{"HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", "GET http:// /\nend\n"},
	{"gRPC", "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc+proto\r\n\r\n", "POST http://a / grpc content-type=\"application/grpc+proto\"\nend\n"},
}

func TestRequests(t *testing.T) {
	for _, test := range whole {
		everySplit(t, test.in, func(t *testing.T, pieces []string) {
			s := newServer(h1.Options{})
			for _, p := range pieces {
				if err := s.feed(p); err != nil {
					t.Fatalf("%s: %q: %v", test.rfc, pieces, err)
				}
			}
			equal(t, test.rfc, s.text(), test.want)
		})
	}
}

// everySplit calls f with in as a whole, in two pieces cut anywhere, and octet
// by octet.
func everySplit(t *testing.T, in string, f func(t *testing.T, pieces []string)) {
	t.Helper()
	f(t, []string{in})
	f(t, strings.Split(in, ""))
	for i := 1; i < len(in) && !t.Failed(); i++ {
		f(t, []string{in[:i], in[i:]})
	}
}

const ok = "GET / HTTP/1.1\r\nHost: a\r\n"

// refused are requests that are answered by the core itself.
var refused = []struct {
	rfc, in string
	status  string
}{
	{"9112 2.2 bare LF ends the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", "400"},
	{"9112 2.2 bare LF ends a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", "400"},
	{"9112 2.2 bare LF ends the head", ok + "\n", "400"},
	{"9112 2.2 bare CR in a value", ok + "X: a\rb\r\n\r\n", "400"},
	{"9112 2.2 bare CR in the target", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"9112 2.2 CR before CRLF", ok + "X: a\r\r\n\r\n", "400"},
	{"9112 2.2 two empty lines before", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"9112 2.2 white space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400"},
	{"9112 2.3 HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"},
	{"9112 2.3 HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "505"},
	{"9112 2.3 case", "GET / http/1.1\r\nHost: a\r\n\r\n", "400"},
	{"9112 2.3 more digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", "400"},
	{"9112 3 no version", "GET /\r\n\r\n", "400"},
	{"9112 3 space behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "400"},
	{"9112 3 two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"9112 3 tab", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"9112 3.1 method", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"9112 3.1 no method", " / HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"9112 3.2 NUL in the target", "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"9112 3.2 fragment", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"9112 3.2 no form", "GET x HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"9112 3.2.2 other scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"9112 3.2.2 no authority", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"9112 3.2.2 no host", "GET http://:80/x HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"9110 4.2.4 user information", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"9112 3.2.3 no port", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"9112 3.2.3 port", "CONNECT a:x HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"9112 3.2.3 path", "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"9112 3.2.4 asterisk", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"9112 3.2 no Host", "GET / HTTP/1.1\r\n\r\n", "400"},
	{"9112 3.2 two Hosts", ok + "Host: b\r\n\r\n", "400"},
	{"9112 3.2 twice the same Host", ok + "Host: a\r\n\r\n", "400"},
	{"9112 3.2 two Hosts of HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "400"},
	{"9112 3.2 no host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400"},
	{"9112 3.2 two hosts in one", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400"},
	{"9112 3.2 user in Host", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400"},
	{"9112 5.1 space before the colon", ok + "X : y\r\n\r\n", "400"},
	{"9112 5.1 space before the colon of a length", ok + "Content-Length : 5\r\n\r\n", "400"},
	{"9112 5.1 no colon", ok + "X\r\n\r\n", "400"},
	{"9112 5.1 no name", ok + ": x\r\n\r\n", "400"},
	{"9112 5.1 name", ok + "X(: x\r\n\r\n", "400"},
	{"9112 5.1 name beyond ASCII", ok + "\xf1\x00\x01: x\r\n\r\n", "400"},
	{"9112 5.2 obs-fold", ok + "X: y\r\n z\r\n\r\n", "400"},
	{"9112 5.2 obs-fold by a tab", ok + "X: y\r\n\tz: 1\r\n\r\n", "400"},
	{"9110 5.5 NUL", ok + "X: \x00\r\n\r\n", "400"},
	{"9110 5.5 DEL", ok + "X: \x7f\r\n\r\n", "400"},
	{"9110 5.5 vertical tab", ok + "Transfer-Encoding: \x0bchunked\r\n\r\n", "400"},
	{"9112 6.1 both", ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
	{"9112 6.1 both, the other way", ok + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", "400"},
	{"9112 6.1 in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
	{"9112 6.1 coding", ok + "Transfer-Encoding: gzip\r\n\r\n", "501"},
	{"9112 6.1 identity", ok + "Transfer-Encoding: identity\r\n\r\n", "501"},
	{"9112 6.1 list", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", "501"},
	{"9112 6.1 twice in a list", ok + "Transfer-Encoding: chunked, chunked\r\n\r\n", "501"},
	{"9112 6.1 not last", ok + "Transfer-Encoding: chunked, gzip\r\n\r\n", "501"},
	{"9112 6.1 two", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "501"},
	{"9112 6.1 parameter", ok + "Transfer-Encoding: chunked;x\r\n\r\n", "501"},
	{"9112 6.1 quoted", ok + "Transfer-Encoding: \"chunked\"\r\n\r\n", "501"},
	{"9112 6.1 empty", ok + "Transfer-Encoding:\r\n\r\n", "501"},
	{"9112 6.3 two lengths", ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", "400"},
	{"9112 6.3 two spellings", ok + "Content-Length: 5\r\nContent-Length: 05\r\n\r\n", "400"},
	{"9112 6.3 two spellings, the other way", ok + "Content-Length: 05\r\nContent-Length: 5\r\n\r\n", "400"},
	{"9112 6.3 list", ok + "Content-Length: 5, 5\r\n\r\n", "400"},
	{"9110 8.6 sign", ok + "Content-Length: +5\r\n\r\n", "400"},
	{"9110 8.6 negative", ok + "Content-Length: -5\r\n\r\n", "400"},
	{"9110 8.6 hexadecimal", ok + "Content-Length: 0x5\r\n\r\n", "400"},
	{"9110 8.6 space", ok + "Content-Length: 5 5\r\n\r\n", "400"},
	{"9110 8.6 fraction", ok + "Content-Length: 5.0\r\n\r\n", "400"},
	{"9110 8.6 empty", ok + "Content-Length:\r\n\r\n", "400"},
	{"9110 8.6 overflow", ok + "Content-Length: 18446744073709551617\r\n\r\n", "400"},
	{"9110 9.3.6", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "400"},
	{"9112 7.1 no size", chunked("\r\n"), "400"},
	{"9112 7.1 sign", chunked("+1\r\na"), "400"},
	{"9112 7.1 prefix", chunked("0x1\r\na"), "400"},
	{"9112 7.1 space before the size", chunked(" 1\r\na"), "400"},
	{"9112 7.1 space behind the size", chunked("1 \r\na"), "400"},
	{"9112 7.1.1 space before an extension", chunked("1 ;x\r\na"), "400"},
	{"9112 7.1 overflow", chunked("fffffffffffffffff\r\na"), "400"},
	{"9112 7.1 negative by overflow", chunked("ffffffffffffffff\r\na"), "400"},
	{"9112 7.1 LF behind the size", chunked("1\na"), "400"},
	{"9112 7.1 CR alone behind the size", chunked("1\ra"), "400"},
	{"9112 7.1 no CRLF behind the data", chunked("1\r\nab"), "400"},
	{"9112 7.1 LF behind the data", chunked("1\r\na\n0\r\n\r\n"), "400"},
	{"9112 7.1 CR alone behind the data", chunked("1\r\na\rx"), "400"},
	{"9112 7.1.1 LF in an extension", chunked("1;x\nab\r\n0\r\n\r\n"), "400"},
	{"9112 7.1.1 CR in an extension", chunked("1;x\ry"), "400"},
	{"9112 7.1.1 NUL in an extension", chunked("1;\x00\r\n"), "400"},
	{"9112 7.1.1 too long", chunked("1;" + strings.Repeat("x", 5000)), "400"},
	{"9112 7.1.2 trailer", chunked("0\r\nX\r\n\r\n"), "400"},
	{"9112 7.1.2 LF ends trailers", chunked("0\r\nX: y\r\n\n"), "400"},
	{"9112 7.1.2 LF behind the last chunk", chunked("0\r\n\n"), "400"},
	{"6585 5 line", ok + "X: " + strings.Repeat("x", 2000), "431"},
	{"6585 5 target", "GET /" + strings.Repeat("x", 2000), "431"},
	{"6585 5 bytes", ok + strings.Repeat("X: "+strings.Repeat("0", 90)+"\r\n", 12), "431"},
	{"6585 5 trailers", chunked("0\r\n" + strings.Repeat("X: "+strings.Repeat("0", 90)+"\r\n", 12)), "431"},
	{"6585 5 fields", ok + strings.Repeat("X:\r\n", 21), "431"},
}

func chunked(body string) string {
	return "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body
}

func TestRefused(t *testing.T) {
	phrases := map[string]string{
		"400": "Bad Request", "431": "Request Header Fields Too Large",
		"501": "Not Implemented", "505": "HTTP Version Not Supported",
	}
	for _, test := range refused {
		reason := "invalid-request"
		if test.status == "431" {
			reason = "header-too-large"
		}
		length := map[string]string{"invalid-request": "23", "header-too-large": "24"}[reason]
		want := "HTTP/1.1 " + test.status + " " + phrases[test.status] + "\r\nContent-Type: text/plain; charset=utf-8\r\n" +
			"Content-Length: " + length + "\r\nShunt-Error: " + reason + "\r\nConnection: close\r\n\r\nshunt: " + reason + "\n"
		everySplit(t, test.in, func(t *testing.T, pieces []string) {
			var told, limit string
			o := h1.Options{Limits: h1.Limits{MaxHeaderBytes: 1024, MaxFields: 20}, LimitHit: func(l string) { limit += l }}
			o.Refused = func(status int) { told += strconv.Itoa(status) }
			s := newServer(o)
			for _, p := range pieces {
				s.feed(p)
			}
			equal(t, test.rfc, s.wire.take(), want)
			equal(t, test.rfc, s.wire.state(), "closed")
			equal(t, test.rfc+": told", told, test.status)
			equal(t, test.rfc+": limit", limit, limitOf(test.rfc, test.status))
			if strings.HasPrefix(test.in, "PUT") != strings.Contains(s.text(), "reset PROTOCOL_ERROR unprocessed=false malformed=true") {
				t.Errorf("%s: the handler heard %q", test.rfc, s.text())
			}
		})
	}
}

// limitOf is which limit a bad request hits.
func limitOf(rfc, status string) string {
	switch {
	case rfc == "9112 7.1.1 too long":
		return h1.LimitExtension
	case status != "431":
		return ""
	case strings.HasSuffix(rfc, "fields"):
		return h1.LimitFields
	}
	return h1.LimitHeaderBytes
}

// TestInternerIsShared: no line finds what HPACK has put there under keys that
// begin with an octet beyond ASCII.
func TestInternerIsShared(t *testing.T) {
	in := &message.Interner{}
	in.Add([]byte("\xf1x: y\r\n"), &message.Field{Name: "authorization", Value: "root"})
	s := newServer(h1.Options{Interner: in})
	if s.feed(ok+"\xf1x: y\r\n\r\n") == nil || len(s.handlers) > 0 {
		t.Errorf("heard %q", s.text())
	}
}

// TestInterning: connections share fields that are worth it, and none that
// somebody may guess by what is found.
func TestInterning(t *testing.T) {
	for field, want := range map[string]bool{
		"Accept: */*": true, "Date: Sat, 21 Nov 2026 14:00:00 GMT": true, "Content-Length: 100": true,
		"Content-Length: 1000": false, "ETag: x": false, "Traceparent: x": false, "X-Request-ID: x": false, "X-B3-TraceId: x": false,
		"Authorization: x": false, "Cookie: x": false, "X: " + strings.Repeat("x", 1024): false,
	} {
		o := h1.Options{Interner: &message.Interner{}}
		var found []*message.Field
		for range 2 {
			s := newServer(o)
			s.prepare = func(_ message.Stream, r *recorder) {
				r.onHead = func(h *message.Head, _ bool) { found = append(found, h.Fields[0]) }
			}
			s.feed(ok + field + "\r\n\r\n")
		}
		if got := found[0] == found[1]; got != want {
			t.Errorf("%.30s: shared %v", field, got)
		}
		name, _, _ := strings.Cut(field, ":")
		if f := found[0]; f.Line != field+"\r\n" || f.Name != strings.ToLower(name) || f.Sensitive != (name == "Authorization" || name == "Cookie") {
			t.Errorf("%.30s: %+v", field, f)
		}
	}
}
