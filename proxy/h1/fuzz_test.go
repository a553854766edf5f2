// SPDX-License-Identifier: Apache-2.0

package h1_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/h1"
	"github.com/shuntmesh/shunt/proxy/message"
)

// cut returns in as pieces of random length.
func cut(in []byte, seed uint64) [][]byte {
	random := rand.New(rand.NewPCG(seed, 1))
	var pieces [][]byte
	for len(in) > 0 {
		n := 1 + random.IntN(min(len(in), 1+random.IntN(64)))
		pieces = append(pieces, in[:n])
		in = in[n:]
	}
	return pieces
}

// serve has a server core take pieces. Each request is answered when it has
// ended. It returns all that can be seen from outside.
func serve(pieces [][]byte) (*server, string) {
	s := newServer(h1.Options{Limits: h1.Limits{MaxHeaderBytes: 4096}})
	s.prepare = func(st message.Stream, r *recorder) {
		answer := func(end bool) {
			if end {
				st.SendHead(status(204, -1), true)
			}
		}
		r.onHead = func(_ *message.Head, end bool) { answer(end) }
		r.onData = func(p []byte, end bool) {
			st.Credit(len(p))
			answer(end)
		}
	}
	for _, p := range pieces {
		s.feed(string(p))
	}
	if s.wire.state() == "" {
		s.End()
	}
	return s, s.text() + string(s.wire.out) + s.wire.state()
}

// FuzzRequest: however the bytes are cut, the same is heard and answered, and
// net/http understands the first request as we do.
func FuzzRequest(f *testing.F) {
	for _, r := range whole {
		f.Add([]byte(r.in+getA), uint64(1))
	}
	for _, r := range refused {
		f.Add([]byte(r.in), uint64(2))
	}
	f.Add([]byte(upgrade+"early"), uint64(3))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		s, got := serve([][]byte{in})
		if _, other := serve(cut(in, seed)); got != other {
			t.Fatalf("%q:\nwhole %q\n cut  %q", in, got, other)
		}
		if len(s.handlers) > 0 {
			compareRequest(t, in, s.handlers[0])
		}
	})
}

// compareRequest compares what a handler heard to what net/http reads.
func compareRequest(t *testing.T, in []byte, heard *recorder) {
	h, body, trailer, ended := heard.message()
	in = bytes.TrimPrefix(in, []byte("\r\n"))
	if h.Path[0] == '/' { // net/http wants to decode it, we don't
		in = bytes.Replace(in, []byte(" "+h.Path+" "), []byte(" /path "), 1)
	}
	r, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(in), 64<<10))
	if err != nil {
		if strings.Contains(err.Error(), "parse ") || strings.Contains(err.Error(), "bad trailer key") {
			return
		}
		t.Fatalf("%q: net/http: %v", in, err)
	}
	host := r.Host
	if h.Path[0] == '/' && r.RequestURI != "/path" || h.Path[0] != '/' && r.RequestURI != h.Path {
		t.Fatalf("%q: target %q, net/http has %q", in, h.Path, r.RequestURI)
	}
	authority := h.Authority
	if decoded, err := url.PathUnescape(authority); err == nil && h.Path[0] != '/' {
		authority = decoded // net/http decodes that of a whole URI, we pass it on as it is
	}
	if r.Method != h.Method || host != authority {
		t.Fatalf("%q: %s %s, net/http has %s %s", in, h.Method, authority, r.Method, host)
	}
	compareFields(t, in, h, r.Header)
	if h.Method != http.MethodConnect {
		compareBody(t, in, r.Body, body, ended)
		compareTrailer(t, in, trailer, r.Trailer, ended)
	}
}

// message returns what was heard up to the first end.
func (r *recorder) message() (h *message.Head, body []byte, trailer *message.Head, ended bool) {
	return r.first, r.body, r.trailer, r.ended
}

// compareFields leaves out what concerns one hop, and what net/http keeps elsewhere.
func compareFields(t *testing.T, in []byte, h *message.Head, theirs http.Header) {
	dropped := []string{"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "trailer", "content-length"}
	for _, v := range theirs["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			dropped = append(dropped, strings.ToLower(strings.Trim(name, " \t")))
		}
	}
	if theirs.Get("Pragma") == "no-cache" {
		dropped = append(dropped, "cache-control") // net/http adds one
	}
	if h.Kind == message.Request {
		dropped = append(dropped, "host")
	}
	var got, want []string
	for _, f := range h.Fields {
		if !slices.Contains(dropped, f.Name) {
			got = append(got, f.Name+": "+f.Value)
		}
	}
	for name, values := range theirs {
		for _, v := range values {
			if name = strings.ToLower(name); !slices.Contains(dropped, name) {
				want = append(want, name+": "+v)
			}
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("%q:\nfields %q\nnet/http has %q", in, got, want)
	}
}

// compareBody is for a body that we have seen the end of: before that we may
// still refuse what net/http lets pass.
func compareBody(t *testing.T, in []byte, theirs io.Reader, ours []byte, ended bool) {
	b, err := io.ReadAll(theirs)
	if ended && (err != nil || !bytes.Equal(b, ours)) {
		t.Fatalf("%q: body %q; net/http has %q, %v", in, ours, b, err)
	}
}

func compareTrailer(t *testing.T, in []byte, ours *message.Head, theirs http.Header, ended bool) {
	if !ended {
		return
	}
	if ours == nil {
		ours = &message.Head{Kind: message.Trailers}
	}
	for name, values := range theirs { // announced, but not there
		if values == nil {
			delete(theirs, name)
		}
	}
	theirs.Del("Host")
	h := *ours
	h.Fields = slices.DeleteFunc(slices.Clone(h.Fields), func(f *message.Field) bool { return f.Name == "host" })
	compareFields(t, in, &h, theirs)
}

// ask has a client core send a request and take pieces of an answer.
func ask(pieces [][]byte, method string) (*recorder, string) {
	c, r := newClient(h1.Options{Limits: h1.Limits{MaxHeaderBytes: 4096}}), &recorder{}
	h := get("/")
	h.Method = method
	if method == "UPGRADE" {
		h.Method, h.Protocol = "GET", "x"
	}
	c.Open(r).SendHead(h, true)
	for _, p := range pieces {
		c.feed(string(p))
	}
	before := ""
	if c.wire.state() == "" {
		before = fmt.Sprint(" room ", c.Room())
		c.End()
	}
	return r, r.text() + c.wire.state() + before
}

// FuzzResponse is FuzzRequest for the client.
func FuzzResponse(f *testing.F) {
	for i, r := range answers {
		f.Add([]byte(r.in), uint64(i), uint8(0))
	}
	f.Add([]byte(switched+"raw"), uint64(1), uint8(2))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), uint64(1), uint8(1))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64, kind uint8) {
		method := []string{"GET", "HEAD", "UPGRADE"}[kind%3]
		r, got := ask([][]byte{in}, method)
		if _, other := ask(cut(in, seed), method); got != other {
			t.Fatalf("%q:\nwhole %q\n cut  %q", in, got, other)
		}
		if r.first != nil {
			compareResponse(t, in, method, r)
		}
	})
}

func compareResponse(t *testing.T, in []byte, method string, heard *recorder) {
	h, body, trailer, ended := heard.message()
	if h.Status < 200 {
		return // net/http has 101 in common with us, and leaves the others to the caller
	}
	b := bufio.NewReaderSize(bytes.NewReader(in), 64<<10)
	var res *http.Response
	for err := error(nil); res == nil || res.StatusCode < 200; {
		if res, err = http.ReadResponse(b, &http.Request{Method: strings.Replace(method, "UPGRADE", "GET", 1)}); err != nil {
			if strings.Contains(err.Error(), "bad trailer key") {
				return
			}
			t.Fatalf("%q: net/http: %v", in, err)
		}
	}
	if res.StatusCode != h.Status {
		t.Fatalf("%q: status %d, net/http has %d", in, h.Status, res.StatusCode)
	}
	compareFields(t, in, h, res.Header)
	compareBody(t, in, res.Body, body, ended)
	compareTrailer(t, in, trailer, res.Trailer, ended)
}

// FuzzRelay: what a client may make us send to the upstream is read there as
// the same requests, however wild it is. That is what smuggling would break.
func FuzzRelay(f *testing.F) {
	for _, r := range whole {
		f.Add([]byte(r.in + getA))
	}
	for _, r := range refused {
		f.Add([]byte(r.in + getB))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		_, s, c := newRelay()
		if err := s.Receive(in); err != nil && len(c.wire.out) == 0 {
			return
		}
		sent := c.wire.take()
		behind := newServer(h1.Options{})
		if err := behind.Receive([]byte(sent)); err != nil {
			t.Fatalf("%q became %q: %v", in, sent, err)
		}
		if len(behind.handlers) > 1 {
			t.Fatalf("%q became %d requests: %q", in, len(behind.handlers), sent)
		}
		r := bufio.NewReaderSize(strings.NewReader(sent), 64<<10)
		for n := 0; ; n++ {
			req, err := http.ReadRequest(r)
			if errors.Is(err, io.EOF) || err != nil && (strings.Contains(err.Error(), "parse ") || strings.Contains(err.Error(), "bad trailer key")) {
				return
			}
			if err != nil || n > 0 {
				t.Fatalf("%q became %q: request %d, %v", in, sent, n, err)
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return // it is not all there yet
			}
		}
	})
}
