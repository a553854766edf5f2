// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/message"
	"go.uber.org/goleak"
)

// driver runs a Conn over a net.Conn, as simply as can be.
type driver struct {
	mu   sync.Mutex
	more sync.Cond
	w    wire
	c    *Conn
	nc   net.Conn
	done bool
	wg   sync.WaitGroup
}

func drive(nc net.Conn, core func(Wire) *Conn) *driver {
	d := &driver{nc: nc}
	d.more.L = &d.mu
	d.c = core(&d.w)
	d.wg.Go(d.read)
	d.wg.Go(d.write)
	return d
}

// do calls f as the loop would, and has the output sent.
func (d *driver) do(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
	d.more.Signal()
}

func (d *driver) read() {
	buf := make([]byte, 100000)
	for {
		n, err := d.nc.Read(buf)
		d.do(func() {
			err = errors.Join(err, d.c.Receive(buf[:n]))
			if err != nil {
				d.c.Closed(err)
				d.done = true
			}
		})
		if err != nil {
			return
		}
	}
}

func (d *driver) write() {
	defer d.nc.Close()
	for {
		d.mu.Lock()
		for len(d.w.out) == 0 && !d.done && !d.w.closed {
			d.more.Wait()
		}
		out := bytes.Clone(d.w.out)
		d.w.out = d.w.out[:0]
		high := len(out) > d.w.HighWater()
		d.mu.Unlock()
		if len(out) == 0 {
			return
		}
		d.nc.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := d.nc.Write(out); err != nil {
			return
		}
		if high {
			d.do(d.c.Drained)
		}
	}
}

// h2c is HTTP/2 and nothing else, without TLS.
func h2c() *http.Protocols {
	p := &http.Protocols{}
	p.SetUnencryptedHTTP2(true)
	return p
}

// close ends the connection, and waits until it has.
func (d *driver) close() {
	d.nc.Close()
	d.wg.Wait()
}

// echoHandler sends back what it gets, and the fields of the request as trailers.
type echoHandler struct {
	s        message.Stream
	trailers *message.Head
	owed     int
}

func (e *echoHandler) OnHead(h *message.Head, end bool) {
	switch h.Kind {
	case message.Request:
		e.trailers = trailersHead("path", h.Path)
		if v, ok := h.Get("copy"); ok {
			e.trailers.Fields = append(e.trailers.Fields, &message.Field{Name: "copy", Value: v})
		}
		e.s.SendHead(responseHead(100), false)
		e.s.SendHead(responseHead(200, "method", h.Method, "trailer", "path"), end && h.Method == methodHead)
		if end && h.Method == methodHead {
			return
		}
	case message.Trailers:
		e.trailers.Fields = append(e.trailers.Fields, h.Fields...)
	}
	if end {
		e.s.SendHead(e.trailers, true)
	}
}

func (e *echoHandler) OnData(p []byte, end bool) {
	e.s.SendData(p, false)
	if e.owed += len(p); e.s.Unsent() == 0 {
		e.OnDrained()
	}
	if end {
		e.s.SendHead(e.trailers, true)
	}
}

func (e *echoHandler) OnDrained() {
	e.s.Credit(e.owed)
	e.owed = 0
}
func (e *echoHandler) OnReset(message.Reset) {}

// TestServerAgainstTransport has net/http's client call our server.
func TestServerAgainstTransport(t *testing.T) {
	defer goleak.VerifyNone(t)
	var dialing sync.Mutex
	var drivers []*driver
	tr := &http.Transport{Protocols: h2c(), DisableCompression: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		dialing.Lock()
		defer dialing.Unlock()
		drivers = append(drivers, drive(far, func(w Wire) *Conn {
			return NewServer(w, Options{}, func(s message.Stream) message.Handler { return &echoHandler{s: s} })
		}))
		return near, nil
	}}
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			if err := callEcho(tr, i); err != nil {
				t.Errorf("call %d: %v", i, err)
			}
		})
		if i == 0 {
			wg.Wait() // one connection for all
		}
	}
	wg.Wait()
	tr.CloseIdleConnections()
	for _, d := range drivers {
		d.close()
		if d.c.open != 0 || d.w.lent != 0 {
			t.Errorf("%d streams are open, %d buffers lent", d.c.open, d.w.lent)
		}
	}
	if len(drivers) > 5 { // one is enough, but net/http may dial beside it
		t.Errorf("%d connections", len(drivers))
	}
}

func callEcho(tr *http.Transport, i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	want := strings.Repeat(fmt.Sprint(i, "."), i*i*20)
	method := []string{"POST", "GET", "HEAD", "PUT"}[i%4]
	var body io.Reader
	if method == "POST" || method == "PUT" {
		body = strings.NewReader(want)
		if method == "PUT" {
			body = io.MultiReader(body) // of unknown length
		}
	} else {
		want = ""
	}
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprint("http://echo/", i), body)
	if err != nil {
		return err
	}
	req.Header.Set("Copy", strings.Repeat("c", i*500))
	if method == "PUT" {
		req.Trailer = http.Header{"Sum": {"42"}}
	}
	res, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case string(got) != want:
		return fmt.Errorf("%d bytes came, want %d", len(got), len(want))
	case res.Header.Get("Method") != method:
		return fmt.Errorf("head is %v", res.Header)
	case method != "HEAD" && (res.Trailer.Get("Path") != fmt.Sprint("/", i) || res.Trailer.Get("Copy") != req.Header.Get("Copy")):
		return fmt.Errorf("trailers are %v", res.Trailer)
	case method == "PUT" && res.Trailer.Get("Sum") != "42":
		return fmt.Errorf("trailers are %v", res.Trailer)
	}
	return nil
}

// pipeListener accepts what is put into conn.
type pipeListener struct{ conn chan net.Conn }

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{} }
func (l *pipeListener) Close() error {
	close(l.conn)
	return nil
}

func (l *pipeListener) Accept() (net.Conn, error) {
	c, ok := <-l.conn
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

// call is a request of our client's.
type call struct {
	s     message.Stream
	d     *driver
	body  []byte // still to be sent
	got   bytes.Buffer
	heads []string
	done  chan string
	ended bool
}

func (c *call) OnHead(h *message.Head, end bool) {
	c.heads = append(c.heads, headText(h))
	c.finish(end, "")
}

func (c *call) OnData(p []byte, end bool) {
	c.got.Write(p)
	c.s.Credit(len(p))
	c.finish(end, "")
}
func (c *call) OnReset(r message.Reset) { c.finish(true, fmt.Sprintf("reset %+v", r)) }
func (c *call) OnDrained()              { c.send() }

func (c *call) send() {
	for c.s.Unsent() == 0 && len(c.body) > 0 {
		n := min(len(c.body), 30000)
		p := c.body[:n]
		c.body = c.body[n:]
		c.s.SendData(p, len(c.body) == 0)
	}
}

func (c *call) finish(end bool, why string) {
	if end && !c.ended {
		c.ended = true
		c.done <- why
	}
}

// TestClientAgainstServer has our client call net/http's server.
func TestClientAgainstServer(t *testing.T) {
	defer goleak.VerifyNone(t)
	near, far := net.Pipe()
	l := &pipeListener{conn: make(chan net.Conn, 1)}
	l.conn <- far
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Sum")
		w.WriteHeader(http.StatusEarlyHints)
		n, err := io.Copy(w, r.Body)
		w.Header().Set("Sum", fmt.Sprint(n, err))
	})
	var wg sync.WaitGroup
	srv := &http.Server{Handler: handler, Protocols: h2c(), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 10}}
	wg.Go(func() { srv.Serve(l) })
	room := make(chan struct{}, 1)
	d := drive(near, func(w Wire) *Conn {
		return NewClient(w, Options{}, func() {
			select {
			case room <- struct{}{}:
			default:
			}
		})
	})
	<-room // SETTINGS came
	var calls []*call
	for i := 0; i < 50; {
		opened := false
		d.do(func() {
			if d.c.Room() == 0 {
				return
			}
			opened = true
			k := &call{d: d, body: bytes.Repeat([]byte{byte(i)}, i*5000), done: make(chan string, 1)}
			k.s = d.c.Open(k)
			k.s.SendHead(requestHead("n", fmt.Sprint(i)), i == 0)
			k.send()
			calls = append(calls, k)
		})
		if opened {
			i++
			continue
		}
		<-room
	}
	for i, k := range calls {
		select {
		case why := <-k.done:
			if want := bytes.Repeat([]byte{byte(i)}, i*5000); why != "" || !bytes.Equal(k.got.Bytes(), want) {
				t.Errorf("call %d: %q, %d bytes came, want %d", i, why, k.got.Len(), len(want))
			}
			if n := len(k.heads); n != 3 || k.heads[n-1] != fmt.Sprintf("trailers sum=%d <nil>", i*5000) {
				t.Errorf("call %d: heads are %q", i, k.heads)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("call %d stalled, %d bytes came", i, k.got.Len())
		}
	}
	d.close()
	srv.Close()
	wg.Wait()
	if d.c.open != 0 || d.w.lent != 0 {
		t.Errorf("%d streams are open, %d buffers lent", d.c.open, d.w.lent)
	}
}
