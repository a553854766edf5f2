// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// busy is a server config that counts how many handshakes compute at once.
type busy struct {
	now, most atomic.Int32
}

func (b *busy) compute() {
	n := b.now.Add(1)
	for m := b.most.Load(); n > m && !b.most.CompareAndSwap(m, n); m = b.most.Load() {
	}
	time.Sleep(time.Millisecond)
	b.now.Add(-1)
}

func (b *busy) config(t *testing.T, w *world) *tls.Config {
	config := w.serverConfig(t, ServerOptions{})
	get := config.GetConfigForClient
	config.GetConfigForClient = func(i *tls.ClientHelloInfo) (*tls.Config, error) {
		b.compute()
		c, err := get(i)
		if err == nil {
			c = c.Clone()
			c.VerifyConnection = func(tls.ConnectionState) error { b.compute(); return nil }
		}
		return c, err
	}
	return config
}

// TestStorm: 200 handshakes at once, of which few compute.
func TestStorm(t *testing.T) {
	const storm, computing = 200, 3
	w, b := newWorld(t), &busy{}
	servers := newHandshaker(t, Options{Server: b.config(t, w), Computing: computing, Deadline: time.Minute})
	clients := newHandshaker(t, Options{Deadline: time.Minute})
	var done sync.WaitGroup
	for range storm {
		a, c := sockets(t)
		done.Add(2)
		finish := func(r Result) {
			if r.Err != nil {
				t.Error(r.Err)
			}
			done.Done()
		}
		if !servers.Server(c, nil, finish) || !clients.Client(a, w.client.Client(ClientOptions{ServerName: serverName}), finish) {
			t.Fatal("refused")
		}
	}
	within(t, time.Minute, "the storm", done.Wait)
	if most := b.most.Load(); most != computing {
		t.Errorf("%d handshakes computed at once, want %d", most, computing)
	}
	waitFor(t, "no handshake", func() bool { return servers.HalfOpen() == 0 && clients.HalfOpen() == 0 })
	if len(servers.slots) > 0 || len(clients.slots) > 0 {
		t.Error("a slot is still held")
	}
}

// TestStall: peers that stop anywhere in the handshake hold no slot, and are cut
// at the deadline.
func TestStall(t *testing.T) {
	w := newWorld(t)
	const deadline = time.Second
	h := newHandshaker(t, Options{Server: w.serverConfig(t, ServerOptions{}), Computing: 1, Deadline: deadline})
	hello := recordOf(clientHello(t))
	stalls := map[string][]byte{
		"says nothing":       nil,
		"half a header":      hello[:3],
		"half a ClientHello": hello[:50],
		"no Finished":        hello,
	}
	type end struct {
		name  string
		err   error
		after time.Duration
	}
	ends := make(chan end, len(stalls))
	start := time.Now()
	for name, bytes := range stalls {
		a, b := sockets(t)
		if _, err := a.Write(bytes); err != nil {
			t.Fatal(err)
		}
		h.Server(b, nil, func(r Result) { ends <- end{name, r.Err, time.Since(start)} })
	}
	a, b := sockets(t)
	good := make(chan Result, 2)
	h.Server(b, nil, func(r Result) { good <- r })
	h.Client(a, w.client.Client(ClientOptions{ServerName: serverName}), func(r Result) { good <- r })
	(<-good).must(t)
	(<-good).must(t)
	if took := time.Since(start); took >= deadline {
		t.Errorf("a good handshake took %v beside the stalled ones", took)
	}
	for range stalls {
		e := <-ends
		if !errors.Is(e.err, ErrDeadline) || e.after < deadline || e.after > 10*deadline {
			t.Errorf("%s: ended after %v with %v", e.name, e.after, e.err)
		}
	}
	waitFor(t, "no handshake", func() bool { return h.HalfOpen() == 0 })
	if len(h.slots) > 0 {
		t.Error("a slot is still held")
	}
}

func recordOf(message []byte) []byte {
	return append([]byte{handshakeRecord, 3, 1, byte(len(message) >> 8), byte(len(message))}, message...)
}

// TestTrickle: the deadline is for all of the handshake, not for each read.
func TestTrickle(t *testing.T) {
	w := newWorld(t)
	h := newHandshaker(t, Options{Server: w.serverConfig(t, ServerOptions{}), Deadline: 200 * time.Millisecond})
	a, b := sockets(t)
	result := make(chan Result, 1)
	h.Server(b, nil, func(r Result) { result <- r })
	for _, x := range recordOf(clientHello(t)) {
		if _, err := a.Write([]byte{x}); err != nil {
			break
		}
		select {
		case r := <-result:
			if !errors.Is(r.Err, ErrDeadline) {
				t.Errorf("ended with %v", r.Err)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Error("a trickling peer was not cut")
}

// TestDeadlineInQueue: whoever waits for a slot too long is cut as well.
func TestDeadlineInQueue(t *testing.T) {
	w := newWorld(t)
	h := newHandshaker(t, Options{Server: w.serverConfig(t, ServerOptions{}), Computing: 1, Deadline: 100 * time.Millisecond})
	h.slots <- struct{}{}
	_, b := sockets(t)
	result := make(chan Result, 1)
	h.Server(b, nil, func(r Result) { result <- r })
	if r := <-result; !errors.Is(r.Err, ErrDeadline) {
		t.Errorf("ended with %v", r.Err)
	}
	waitFor(t, "no handshake", func() bool { return h.HalfOpen() == 0 })
	if len(h.slots) != 1 {
		t.Error("it gave back a slot that it did not have")
	}
}

func TestTooManyHalfOpen(t *testing.T) {
	w := newWorld(t)
	var refused int
	h := newHandshaker(t, Options{Server: w.serverConfig(t, ServerOptions{}), HalfOpen: 2, Refused: func() { refused++ }})
	var stalled []*net.TCPConn
	cut := make(chan Result, 2)
	for range 2 {
		a, b := sockets(t)
		stalled = append(stalled, a)
		if !h.Server(b, nil, func(r Result) { cut <- r }) {
			t.Fatal("refused below the limit")
		}
	}
	a, b := sockets(t)
	if h.Server(b, nil, func(Result) { t.Error("done is called") }) || refused != 1 {
		t.Errorf("not refused; counted %d", refused)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the refused peer reads: %v", err)
	}
	for _, a := range stalled {
		a.Close()
		if r := <-cut; !errors.Is(r.Err, io.EOF) {
			t.Errorf("a closed peer ends the handshake with %v", r.Err)
		}
	}
	waitFor(t, "room again", func() bool { return h.HalfOpen() == 0 })
}
