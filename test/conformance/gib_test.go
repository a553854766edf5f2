// SPDX-License-Identifier: Apache-2.0

//go:build conformance

package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/sidecartest"
	"github.com/shuntmesh/shunt/proxy/stats"
)

const (
	gib     = 1 << 30
	aWarmUp = 8 << 20 // enough to touch what a transfer touches
)

// maxGrowth bounds what a sidecar's memory may grow by while 1 GiB goes through:
// buffers of one stream are 256 KiB, and the collector may double what lives.
const maxGrowth = 8 << 20

// gibLimit bounds one transfer.
const gibLimit = 60 * time.Second

// transfer moves n bytes over one connection or stream, and compares them at the
// other end.
type transfer struct {
	protocol, direction string
	move                func(ctx context.Context, n int64) error
}

// TestGiB sends 1 GiB each way in every protocol, through two sidecars in
// processes of their own. What arrives must be what was sent, bit for bit, and
// the sidecars may not keep it.
func TestGiB(t *testing.T) {
	if os.Getenv(roleKey) != "" {
		beSidecar(t)
		return
	}
	for _, kind := range []stats.Kind{stats.HTTP1, stats.HTTP2, stats.TCP} {
		t.Run(string(kind), func(t *testing.T) {
			app := serveHTTPStreams
			if kind == stats.TCP {
				app = serveTCPStreams
			}
			in := startSidecar(t, "inbound", app(t))
			out := startSidecar(t, "outbound", in.at)
			for _, tr := range transfers(t, kind, out.at) {
				t.Run(tr.protocol+"/"+tr.direction, func(t *testing.T) { measured(t, tr, out, in) })
			}
		})
	}
}

func measured(t *testing.T, tr transfer, sidecars ...*sidecar) {
	ctx, cancel := context.WithTimeout(t.Context(), gibLimit)
	defer cancel()
	if err := tr.move(ctx, aWarmUp); err != nil {
		t.Fatal(err)
	}
	before := map[*sidecar]int{}
	for _, s := range sidecars {
		s.resetPeak(t)
		before[s], _ = s.memory(t)
	}
	begin := time.Now()
	if err := tr.move(ctx, gib); err != nil {
		t.Fatal(err)
	}
	name := "conformance.gib." + tr.protocol + "." + tr.direction
	fmt.Printf("FIGURE %s %.2f s\n", name, time.Since(begin).Seconds())
	for _, s := range sidecars {
		_, peak := s.memory(t)
		fmt.Printf("FIGURE %s.%s_rss_growth %.2f MiB\n", name, s.role, float64(peak-before[s])/(1<<20))
		if peak-before[s] > maxGrowth {
			t.Errorf("%s grew by %d bytes to %d, want at most %d", s.role, peak-before[s], peak, maxGrowth)
		}
	}
}

// transfers of one protocol: HTTP/1.1 can tell a length or send chunks.
func transfers(t *testing.T, kind stats.Kind, at netip.AddrPort) []transfer {
	if kind == stats.TCP {
		return []transfer{
			{"tcp", "up", func(ctx context.Context, n int64) error { return tcpTransfer(ctx, at, 'u', n) }},
			{"tcp", "down", func(ctx context.Context, n int64) error { return tcpTransfer(ctx, at, 'd', n) }},
		}
	}
	c := netHTTP(t, kind, target{address: at, files: sidecartest.NewFiles(t)})
	url := target{address: at}.url("/")
	if kind == stats.HTTP2 {
		return []transfer{
			{"http2", "up", func(ctx context.Context, n int64) error { return upload(ctx, c, url, n, -1) }},
			{"http2", "down", func(ctx context.Context, n int64) error { return download(ctx, c, url, n, -1) }},
		}
	}
	return []transfer{
		{"http1", "up", func(ctx context.Context, n int64) error { return upload(ctx, c, url, n, n) }},
		{"http1", "down", func(ctx context.Context, n int64) error { return download(ctx, c, url, n, n) }},
		{"http1_chunked", "up", func(ctx context.Context, n int64) error { return upload(ctx, c, url, n, -1) }},
		{"http1_chunked", "down", func(ctx context.Context, n int64) error { return download(ctx, c, url, n, -1) }},
	}
}

// sizeHeader tells the application how long the stream is, lengthHeader what
// length it is to declare: -1 is none.
const (
	sizeHeader   = "X-Size"
	lengthHeader = "X-Length"
)

func upload(ctx context.Context, c *http.Client, url string, n, length int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, justReader{newStream(n)})
	if err != nil {
		return err
	}
	req.ContentLength = length
	req.Header.Set(sizeHeader, strconv.FormatInt(n, 10))
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	verdict, err := io.ReadAll(res.Body)
	if err == nil && string(verdict) != "whole" {
		err = errors.New("the application: " + string(verdict))
	}
	return err
}

func download(ctx context.Context, c *http.Client, url string, n, length int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set(sizeHeader, strconv.FormatInt(n, 10))
	req.Header.Set(lengthHeader, strconv.FormatInt(length, 10))
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.ContentLength != length {
		return fmt.Errorf("download: length %d is declared, want %d", res.ContentLength, length)
	}
	return receive(res.Body, n)
}

// serveHTTPStreams judges what is posted, and sends what is asked for.
func serveHTTPStreams(t *testing.T) netip.AddrPort {
	return startHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(r.Header.Get(sizeHeader), 10, 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if r.Method == http.MethodPost {
			verdict := "whole"
			if err := receive(r.Body, n); err != nil {
				verdict = err.Error()
			}
			_, _ = io.WriteString(w, verdict)
			return
		}
		if length := r.Header.Get(lengthHeader); length != "-1" {
			w.Header().Set("Content-Length", length)
		}
		_ = send(w, n) // a client that goes says so itself
	}))
}

// tcpTransfer tells the direction and the length, and then sends or receives.
func tcpTransfer(ctx context.Context, at netip.AddrPort, direction byte, n int64) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", at.String())
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if _, err := fmt.Fprintf(c, "\x00%c%20d", direction, n); err != nil {
		return err
	}
	if direction == 'd' {
		return receive(c, n)
	}
	if err := errors.Join(send(c, n), c.(*net.TCPConn).CloseWrite()); err != nil {
		return err
	}
	verdict, err := io.ReadAll(c)
	if err == nil && string(verdict) != "whole" {
		err = errors.New("the application: " + string(verdict))
	}
	return err
}

func serveTCPStreams(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { defer c.Close(); serveTCPStream(c) })
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return sidecartest.AddrOf(l)
}

func serveTCPStream(c net.Conn) {
	head := make([]byte, 22)
	if _, err := io.ReadFull(c, head); err != nil {
		return // a look whether somebody listens
	}
	var n int64
	if _, err := fmt.Sscanf(string(head[2:]), "%d", &n); err != nil {
		_, _ = io.WriteString(c, err.Error())
		return
	}
	if head[1] == 'd' {
		_ = send(c, n) // a client that goes says so itself
		return
	}
	verdict := "whole"
	if err := receive(c, n); err != nil {
		verdict = err.Error()
	}
	_, _ = io.WriteString(c, verdict)
}
