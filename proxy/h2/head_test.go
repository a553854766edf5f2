// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/message"
)

// with returns the pseudo-header of a GET with some fields replaced, those of
// value "-" left out, and others added.
func with(nv ...string) []string {
	out := append([]string(nil), get...)
next:
	for i := 0; i < len(nv); i += 2 {
		for j := 0; j < len(get); j += 2 {
			if out[j] == nv[i] {
				out[j+1] = nv[i+1]
				continue next
			}
		}
		out = append(out, nv[i], nv[i+1])
	}
	kept := out[:0]
	for i := 0; i < len(out); i += 2 {
		if out[i+1] != "-" {
			kept = append(kept, out[i], out[i+1])
		}
	}
	return kept
}

func TestRequestHeads(t *testing.T) {
	const bad = ""
	for name, c := range map[string]struct {
		fields []string
		want   string
	}{
		"plain":                     {with(), "GET http://a/"},
		"fields":                    {with("x", "1", "x", "2", "y", ""), "GET http://a/ x=1 x=2 y="},
		"no method":                 {with(":method", "-"), bad},
		"empty method":              {with(":method", ""), bad},
		"bad method":                {with(":method", "G T"), bad},
		"no scheme":                 {with(":scheme", "-"), bad},
		"bad scheme":                {with(":scheme", "1http"), bad},
		"odd scheme":                {with(":scheme", "h2+x-y.1"), "GET h2+x-y.1://a/"},
		"no path":                   {with(":path", "-"), bad},
		"empty path":                {with(":path", ""), bad},
		"path without slash":        {with(":path", "x"), bad},
		"absolute path":             {with(":path", "http://a/"), bad},
		"path with a blank":         {with(":path", "/a b"), bad},
		"path with a line break":    {with(":path", "/a\r\nb: c"), bad},
		"path with query":           {with(":path", "/a?b=%20"), "GET http://a/a?b=%20"},
		"asterisk":                  {with(":method", "OPTIONS", ":path", "*"), "OPTIONS http://a*"},
		"asterisk of GET":           {with(":path", "*"), bad},
		"no authority":              {with(":authority", "-"), "GET http:///"},
		"host for authority":        {with(":authority", "-", "host", "b:1"), "GET http://b:1/"},
		"host like authority":       {with("host", "A", "x", "y"), "GET http://a/ x=y"},
		"host unlike authority":     {with("host", "b"), bad},
		"two hosts":                 {with("host", "a", "host", "a"), bad},
		"userinfo":                  {with(":authority", "u:p@a"), bad},
		"authority with a path":     {with(":authority", "a/b"), bad},
		"authority with a blank":    {with(":authority", "a b"), bad},
		"bad host for authority":    {with(":authority", "-", "host", "a/b"), bad},
		"ipv6":                      {with(":authority", "[::1]:80"), "GET http://[::1]:80/"},
		"connect":                   {with(":method", "CONNECT", ":scheme", "-", ":path", "-"), "CONNECT ://a"},
		"connect with path":         {with(":method", "CONNECT", ":scheme", "-"), bad},
		"connect with scheme":       {with(":method", "CONNECT", ":path", "-"), bad},
		"connect without authority": {[]string{":method", "CONNECT"}, bad},
		"extended connect":          {with(":method", "CONNECT", ":protocol", "websocket"), "CONNECT http://a/ protocol websocket"},
		"extended without path":     {with(":method", "CONNECT", ":protocol", "websocket", ":path", "-"), bad},
		"extended without scheme":   {with(":method", "CONNECT", ":protocol", "websocket", ":scheme", "-"), bad},
		"protocol of GET":           {with(":protocol", "websocket"), bad},
		"bad protocol":              {with(":method", "CONNECT", ":protocol", "web socket"), bad},
		"doubled pseudo field":      {append([]string{":path", "/"}, get...), bad},
		"unknown pseudo field":      {with(":foo", "bar"), bad},
		"status":                    {with(":status", "200"), bad},
		"late pseudo field":         {[]string{":method", "GET", ":scheme", "http", "x", "y", ":path", "/"}, bad},
		"upper case":                {with("X-a", "b"), bad},
		"empty name":                {with("", "b"), bad},
		"name with a blank":         {with("a b", "b"), bad},
		"name with a colon":         {with("a:b", "b"), bad},
		"name above ASCII":          {with("\xe4", "b"), bad},
		"every tchar":               {with("!#$%&'*+-.^_`|~09az", "b"), "GET http://a/ !#$%&'*+-.^_`|~09az=b"},
		"value with NUL":            {with("a", "b\x00c"), bad},
		"value with LF":             {with("a", "b\nc"), bad},
		"value with CR":             {with("a", "b\rc"), bad},
		"value with DEL":            {with("a", "b\x7fc"), bad},
		"value with blanks around":  {with("a", " b\t", "c", " "), "GET http://a/ a= b\t c= "},
		"length with a blank":       {with("content-length", " 1"), bad},
		"te with a blank":           {with("te", "trailers "), bad},
		"host with a blank":         {with(":authority", "-", "host", "a "), bad},
		"value with tab and UTF-8":  {with("a", "b\tc ä"), "GET http://a/ a=b\tc ä"},
		"connection":                {with("connection", "close"), bad},
		"keep-alive":                {with("keep-alive", "1"), bad},
		"proxy-connection":          {with("proxy-connection", "close"), bad},
		"transfer-encoding":         {with("transfer-encoding", "chunked"), bad},
		"upgrade":                   {with("upgrade", "h2c"), bad},
		"te trailers":               {with("te", "trailers"), "GET http://a/ te=trailers"},
		"te gzip":                   {with("te", "trailers, gzip"), bad},
		"content-length twice":      {with("content-length", "1", "content-length", "1"), bad},
		"content-length signed":     {with("content-length", "+1"), bad},
		"content-length list":       {with("content-length", "1, 1"), bad},
		"content-length too large":  {with("content-length", "9223372036854775808"), bad},
		"content-length of nothing": {with("content-length", ""), bad},
	} {
		t.Run(name, func(t *testing.T) {
			r := newServer(t, Options{})
			if err := r.feed(headers(1, false, c.fields...)); err != nil {
				t.Fatal(err)
			}
			if c.want == bad {
				expect(t, "output", r.output(), "RST_STREAM 1 PROTOCOL_ERROR")
				if len(r.streams) != 0 {
					t.Errorf("accepted: %q", r.streams[0].events)
				}
				return
			}
			expect(t, "output", r.output())
			if len(r.streams) == 1 {
				expect(t, "events", r.streams[0].events, c.want)
			}
		})
	}
}

func TestResponseHeads(t *testing.T) {
	for name, c := range map[string]struct {
		fields []string
		ok     bool
	}{
		"plain":           {[]string{":status", "200", "a", "b"}, true},
		"odd status":      {[]string{":status", "799"}, true},
		"host is a field": {[]string{":status", "200", "host", "x"}, true},
		"none":            {[]string{"a", "b"}, false},
		"two":             {[]string{":status", "200", ":status", "200"}, false},
		"short":           {[]string{":status", "20"}, false},
		"long":            {[]string{":status", "2000"}, false},
		"no digit":        {[]string{":status", "2a0"}, false},
		"zero":            {[]string{":status", "000"}, false},
		"path":            {[]string{":status", "200", ":path", "/"}, false},
		"late":            {[]string{"a", "b", ":status", "200"}, false},
		"upgrade":         {[]string{":status", "200", "upgrade", "x"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newClient(t, Options{})
			a := r.open(requestHead(), true)
			r.output()
			r.feed(headers(1, false, c.fields...))
			got := strings.Join(a.events, " ")
			if ok := !strings.HasPrefix(got, "reset"); ok != c.ok {
				t.Errorf("events are %q", got)
			}
		})
	}
}

func TestHeadDetails(t *testing.T) {
	var h message.Head
	if err := fillHead(&h, message.Request, fields(with("content-type", "application/grpc+proto", "content-length", "7")...)); err != nil {
		t.Fatal(err)
	}
	if !h.GRPC || h.ContentLength != 7 || len(h.Fields) != 2 {
		t.Errorf("head is %+v", h)
	}
	if err := fillHead(&h, message.Trailers, fields("content-length", "7")); err != nil || h.GRPC || h.ContentLength != -1 {
		t.Errorf("trailers are %+v, %v", h, err)
	}
}

// Heads of fields that come again are the same object, on whatever connection;
// others are told not to be kept.
func TestHeadsAreShared(t *testing.T) {
	o := Options{Interner: &message.Interner{}, Pool: &Pool{}}
	seen := map[*message.Head]int{}
	for range 2 {
		r := newServer(t, o)
		r.c.accept = func(s message.Stream) message.Handler {
			return headFunc(func(h *message.Head) {
				if h.Stable {
					seen[h]++
				}
				s.SendHead(responseHead(200), true)
			})
		}
		// Not Sensitive, unlike those of request.
		block := "\x82\x86\x84\x01\x01a\x40\x01x\x01y" // GET http / a, and x: y into the table
		for id := uint32(1); id < 9; id += 2 {
			r.feed(raw(frameHeaders, flagEndHeaders|flagEndStream, id, block))
		}
		r.feed(request(9, true, "x", "y"))
	}
	if len(seen) != 1 {
		t.Errorf("%d different Stable heads", len(seen))
	}
	for _, n := range seen {
		if n != 7 { // all but the very first and those of Sensitive fields
			t.Errorf("the Stable head was seen %d times", n)
		}
	}
}

type headFunc func(*message.Head)

func (f headFunc) OnHead(h *message.Head, _ bool) { f(h) }
func (f headFunc) OnData([]byte, bool)            {}
func (f headFunc) OnReset(message.Reset)          {}
func (f headFunc) OnDrained()                     {}

// The block that is cached must not outlive the table it was made with.
func TestCachedBlocksFollowTheTable(t *testing.T) {
	r := newServer(t, Options{})
	var got []string
	r.accepted = func(rec *recorder) {
		rec.on = func(e string) { got = append(got, e) }
	}
	insert := func(v string) string { return "\x82\x86\x84\x01\x01a\x40\x01x\x01" + v }
	var id uint32 = 1
	send := func(block string) {
		r.feed(raw(frameHeaders, flagEndHeaders|flagEndStream, id, block))
		id += 2
	}
	for _, v := range []string{"1", "2"} {
		send(insert(v))
		for range 3 {
			send("\x82\x86\x84\xbe") // x by its index
		}
	}
	want := []string{get0("1"), get2("1"), get2("1"), get2("1"), get0("2"), get2("2"), get2("2"), get2("2")}
	for i := range want {
		want[i] += " end"
	}
	expect(t, "requests", got, want...)
}

func get0(v string) string { return "GET http://a/ x=" + v }
func get2(v string) string { return "GET http:/// x=" + v }

func TestSentBlocksFollowTheTable(t *testing.T) {
	r := newClient(t, Options{})
	heads := make([]*message.Head, 40)
	for i := range heads {
		heads[i] = requestHead("x", strings.Repeat("v", i*10))
	}
	for round := range 200 {
		i := round * 7 % len(heads)
		if round%2 == 0 {
			i = 3
		}
		a := r.open(heads[i], true)
		expect(t, "output", r.output(), fmt.Sprintf("HEADERS %d", 2*round+1)+
			" :method=POST :scheme=http :path=/ :authority=a x="+strings.Repeat("v", i*10)+" end")
		a.s.Reset(message.Cancel)
		r.output()
	}
}
