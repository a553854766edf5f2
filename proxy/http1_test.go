// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/shuntmesh/shunt/proxy/sidecartest"
)

// serve runs an application and returns its address.
func serve(t *testing.T, h http.Handler) netip.AddrPort {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return sidecartest.AddrOf(s.Listener)
}

// clientTo returns a client whose every connection goes to addr.
func clientTo(t *testing.T, addr netip.AddrPort) *http.Client {
	t.Helper()
	tr := &http.Transport{
		Proxy:                 func(*http.Request) (*url.URL, error) { return nil, nil },
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return to(addr)(ctx, "") },
		DisableCompression:    true,
		ExpectContinueTimeout: 5 * time.Second,
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: closing{t, tr}, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// closing ends each response with the test.
type closing struct {
	t  *testing.T
	tr *http.Transport
}

func (c closing) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := c.tr.RoundTrip(r)
	if err == nil {
		c.t.Cleanup(func() { res.Body.Close() })
	}
	return res, err
}

// raw sends bytes and returns everything that comes back.
func raw(t *testing.T, addr netip.AddrPort, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("after %q: %v", b, err)
	}
	return string(b)
}

// TestHTTP1IsTransparent compares what the application sees with and without
// the proxies, for requests that proxies like to change.
func TestHTTP1IsTransparent(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("requests", func(t *testing.T) {
		app := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Header()["Date"] = nil
			r.Header.Del("Connection") // each hop's own affair
			w.Header().Set("Content-Type", "text/x-seen")
			if r.URL.Path == "/redirect" {
				http.Redirect(w, r, "/", http.StatusFound)
			}
			keys := make([]string, 0, len(r.Header))
			for k, v := range r.Header {
				keys = append(keys, fmt.Sprintf("%s=%q", k, v))
			}
			slices.Sort(keys)
			fmt.Fprintf(w, "%s %s host=%s length=%d te=%q trailer=%v %s body=%q\n",
				r.Method, r.RequestURI, r.Host, r.ContentLength, r.TransferEncoding, r.Trailer, strings.Join(keys, " "), body)
		}))
		through := chain(t, app)
		const end = "Connection: close\r\n\r\n"
		for _, request := range []string{
			"GET / HTTP/1.1\r\nHost: greeter\r\n" + end,
			"GET //a/../b%2Fc?x=1&&y=%zz HTTP/1.1\r\nHost: greeter:81\r\nUser-Agent: mine\r\n" + end,
			"GET /? HTTP/1.1\r\nHost: greeter\r\nAccept-Encoding: gzip, br\r\nCookie: a=1\r\nCookie: b=2\r\n" + end,
			"HEAD /head HTTP/1.1\r\nHost: greeter\r\n" + end,
			"OPTIONS * HTTP/1.1\r\nHost: greeter\r\n" + end,
			"POST /empty HTTP/1.1\r\nHost: greeter\r\nContent-Length: 0\r\n" + end,
			"POST /length HTTP/1.1\r\nHost: greeter\r\nContent-Length: 5\r\n" + end + "hello",
			"PUT /chunked HTTP/1.1\r\nHost: greeter\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n" + end + "3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n",
			"DELETE /hop HTTP/1.1\r\nHost: greeter\r\nTe: trailers\r\nX-Forwarded-For: 1.2.3.4\r\n" + end,
			"M-SEARCH /own HTTP/1.1\r\nHost: greeter\r\n" + end,
			"GET /redirect HTTP/1.1\r\nHost: greeter\r\n" + end,
		} {
			if diff := cmp.Diff(sorted(raw(t, app, request)), sorted(raw(t, through, request))); diff != "" {
				t.Errorf("%q (-direct +through):\n%s", request, diff)
			}
		}
	})
}

// sorted orders the lines: the order of header fields means nothing. The date is
// another when a second has passed.
func sorted(response string) []string {
	lines := slices.DeleteFunc(strings.Split(response, "\r\n"), func(l string) bool { return strings.HasPrefix(l, "Date: ") })
	slices.Sort(lines)
	return lines
}

func TestHTTP1TrailersAndFlush(t *testing.T) {
	release := make(chan struct{})
	app := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Declared")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-release
		io.WriteString(w, "late")
		w.Header().Set("X-Declared", "1")
		w.Header().Set(http.TrailerPrefix+"X-Undeclared", "2")
	}))
	res, err := clientTo(t, chain(t, app)).Get("http://greeter/") // returns with the header alone
	if err != nil {
		t.Fatal(err)
	}
	close(release)
	body, err := io.ReadAll(res.Body)
	if err != nil || string(body) != "late" {
		t.Errorf("body %q, %v", body, err)
	}
	if got := res.Trailer.Get("X-Declared") + res.Trailer.Get("X-Undeclared"); got != "12" {
		t.Errorf("trailers %v", res.Trailer)
	}
}

func TestHTTP1Informational(t *testing.T) {
	app := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		w.Header().Set("X-Final", "1")
	}))
	var hints []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, h.Get("Link")))
		return nil
	}}
	req, _ := http.NewRequest(http.MethodGet, "http://greeter/", nil)
	res, err := clientTo(t, chain(t, app)).Do(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if diff := cmp.Diff([]string{"103</style.css>"}, hints); diff != "" || res.Header.Get("Link") != "" || res.Header.Get("X-Final") != "1" {
		t.Errorf("hints %v, header %v", hints, res.Header)
	}
}

// TestHTTP1ExpectContinue: the body stays with the client until the
// application asks for it.
func TestHTTP1ExpectContinue(t *testing.T) {
	app := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		io.Copy(w, r.Body)
	}))
	through := chain(t, app)
	for path, want := range map[string]string{"/take": "100 200 hello", "/refuse": "417 "} {
		c, err := net.Dial("tcp", through.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", path)
		r := bufio.NewReader(c)
		var got []string
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(res.StatusCode))
		if res.StatusCode == http.StatusContinue {
			io.WriteString(c, "hello")
			if res, err = http.ReadResponse(r, nil); err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(res.StatusCode))
		}
		body, _ := io.ReadAll(res.Body)
		if got := strings.Join(append(got, string(body)), " "); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

// TestUpgrade: WebSocket and its like become a pipe in both directions.
func TestUpgrade(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("pipe", func(t *testing.T) {
		app := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", r.Header.Get("Upgrade"))
			w.WriteHeader(http.StatusSwitchingProtocols)
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			io.WriteString(c, "first ")
			io.Copy(c, rw) // echo until the client's end
			io.WriteString(c, " last")
		}))
		c, err := net.Dial("tcp", chain(t, app).String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(c, "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nearly")
		r := bufio.NewReader(c)
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Upgrade") != "websocket" {
			t.Fatalf("%v, %v", res, err)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(r)
		if string(got) != "first early last" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// TestFullDuplexHTTP1: an answer may begin before the request has ended.
func TestFullDuplexHTTP1(t *testing.T) {
	app := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		w.WriteHeader(http.StatusOK)
		_ = rc.Flush()
		buf := make([]byte, 10)
		for {
			n, err := r.Body.Read(buf)
			w.Write(buf[:n])
			_ = rc.Flush()
			if err != nil {
				return
			}
		}
	}))
	pr, pw := io.Pipe()
	res, err := clientTo(t, chain(t, app)).Post("http://a/", "text/plain", pr)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4)
	for range 3 {
		io.WriteString(pw, "ping")
		if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != "ping" {
			t.Fatalf("%q, %v", buf, err)
		}
	}
	pw.Close()
	res.Body.Close()
}
