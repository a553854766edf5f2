// SPDX-License-Identifier: Apache-2.0

package tcp_test

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/sockettest"
	"github.com/shuntmesh/shunt/proxy/tcp"
)

// eachDriver runs a test over all drivers that there are, each with a worker
// that leaves nothing behind.
func eachDriver(t *testing.T, test func(t *testing.T, w *loop.Worker, stop func())) {
	drivers := map[string]loop.Driver{"goroutines": loop.Goroutines}
	if runtime.GOOS == "linux" {
		drivers["epoll"] = loop.Epoll
	}
	for name, d := range drivers {
		t.Run(name, func(t *testing.T) {
			w, stop := worker(t, d)
			test(t, w, stop)
		})
	}
}

func worker(t testing.TB, d loop.Driver) (*loop.Worker, func()) {
	t.Helper()
	w, err := loop.New(loop.Options{Driver: d})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := await(t, done); err != nil {
			t.Errorf("Run: %v", err)
		}
		goleak.VerifyNone(t, goleak.IgnoreCurrent())
	})
	return w, cancel
}

func await[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(5 * time.Second):
		t.Fatal("it does not happen")
	}
	return v
}

// join relays between two connections, of which it returns the far ends.
func join(t testing.TB, w *loop.Worker, idle time.Duration, pendingUp, pendingDown string) *relayed {
	t.Helper()
	client, nearClient := sockettest.Pair(t)
	nearServer, server := sockettest.Pair(t)
	r := &relayed{client: client, server: server, done: make(chan error, 1)}
	w.Post(func() {
		tcp.Relay(w, tcp.End{Conn: nearClient, Pending: []byte(pendingUp)}, tcp.End{Conn: nearServer, Pending: []byte(pendingDown)},
			tcp.Options{IdleTimeout: idle, Received: &r.up, Sent: &r.down, LimitHit: r.limitHit},
			func(err error) { r.done <- err })
	})
	return r
}

// TestRelayHalfClose: one side may end long before the other.
func TestRelayHalfClose(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *loop.Worker, _ func()) {
		r := join(t, w, 0, "held ", "greeting ")
		big := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
		go func() { r.client.Write(big); r.client.CloseWrite() }()
		got, err := io.ReadAll(r.server)
		if !bytes.Equal(got, append([]byte("held "), big...)) || err != nil {
			t.Errorf("server got %d bytes, %v", len(got), err)
		}
		io.WriteString(r.server, "answer after the end")
		r.server.Close()
		got, err = io.ReadAll(r.client)
		if string(got) != "greeting answer after the end" || err != nil {
			t.Errorf("client got %q, %v", got, err)
		}
		if err := await(t, r.done); err != nil {
			t.Errorf("done: %v", err)
		}
		if r.up.Load() != uint64(len(big)+5) || r.down.Load() != 29 {
			t.Errorf("counted %d and %d bytes", r.up.Load(), r.down.Load())
		}
	})
}

// TestRelayReset: it is passed on from either side, before and after an end.
func TestRelayReset(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *loop.Worker, _ func()) {
		for name, prepare := range map[string]func(from, to *net.TCPConn){
			"at once":    func(_, _ *net.TCPConn) {},
			"after data": func(from, to *net.TCPConn) { from.Write([]byte("x")); to.Read(make([]byte, 1)) },
			"after end":  func(from, to *net.TCPConn) { from.CloseWrite(); to.Read(make([]byte, 1)) },
			"other ends": func(_, to *net.TCPConn) { to.CloseWrite() },
			"unread":     func(from, _ *net.TCPConn) { go from.Write(make([]byte, 8<<20)); time.Sleep(10 * time.Millisecond) },
		} {
			for _, back := range []bool{false, true} {
				r := join(t, w, 0, "", "")
				from, to := r.client, r.server
				if back {
					from, to = to, from
				}
				prepare(from, to)
				from.SetLinger(0)
				from.Close()
				if err := await(t, r.done); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("%s: done: %v", name, err)
				}
				to.SetReadDeadline(time.Now().Add(5 * time.Second))
				if _, err := io.Copy(io.Discard, to); name != "after end" && !errors.Is(err, syscall.ECONNRESET) || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s: the other reads %v, want a reset", name, err)
				}
			}
		}
	})
}

// TestRelayIdle: what moves in one direction keeps both.
func TestRelayIdle(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *loop.Worker, _ func()) {
		const idle = 800 * time.Millisecond
		r := join(t, w, idle, "", "")
		for range 6 {
			time.Sleep(idle / 5)
			io.WriteString(r.client, "x")
			if _, err := r.server.Read(make([]byte, 1)); err != nil {
				t.Fatalf("cut while it moved: %v", err)
			}
		}
		if err := await(t, r.done); !errors.Is(err, tcp.ErrIdle) || r.idle.Load() != 1 {
			t.Errorf("done: %v, limit hit %d times", err, r.idle.Load())
		}
	})
}

// TestUnsentLimit: a peer that does not read stops the other, which counts.
func TestUnsentLimit(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *loop.Worker, _ func()) {
		r := join(t, w, 0, "", "")
		piece := make([]byte, 64<<10)
		for end := time.Now().Add(5 * time.Second); r.unsent.Load() == 0; {
			if time.Now().After(end) {
				t.Fatal("nothing stops")
			}
			r.client.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			r.client.Write(piece)
			time.Sleep(time.Millisecond) // short reads, lest it be spliced
		}
		r.client.SetLinger(0)
		r.client.Close()
		await(t, r.done)
	})
}

func TestRelayEndsWithItsWorker(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *loop.Worker, stop func()) {
		r := join(t, w, time.Hour, "", "")
		io.WriteString(r.client, "x")
		r.server.Read(make([]byte, 1))
		stop()
		if err := await(t, r.done); !errors.Is(err, context.Canceled) {
			t.Errorf("done: %v", err)
		}
		for _, c := range []*net.TCPConn{r.client, r.server} {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%v, want a reset", err)
			}
		}
	})
}

// TestRelayOfClosed: connections that can't be adopted are an error of done.
func TestRelayOfClosed(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *loop.Worker, _ func()) {
		for _, closed := range []int{1, 2, 3} {
			client, nearClient := sockettest.Pair(t)
			nearServer, server := sockettest.Pair(t)
			if closed&1 != 0 {
				nearClient.Close()
			}
			if closed&2 != 0 {
				nearServer.Close()
			}
			done := make(chan error, 1)
			w.Post(func() {
				tcp.Relay(w, tcp.End{Conn: nearClient, Pending: []byte("x")}, tcp.End{Conn: nearServer}, tcp.Options{Received: new(atomic.Uint64), Sent: new(atomic.Uint64), LimitHit: func(string) {}},
					func(err error) { done <- err })
			})
			if err := await(t, done); !errors.Is(err, net.ErrClosed) {
				t.Errorf("done: %v", err)
			}
			for _, far := range []*net.TCPConn{client, server} {
				far.SetReadDeadline(time.Now().Add(time.Second))
				if _, err := io.ReadAll(far); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("an end stays open")
				}
			}
		}
	})
}

// TestRelayOfMuch: bytes arrive whole in both directions at once, spliced on
// Linux, past a reader that is now and then slow.
func TestRelayOfMuch(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *loop.Worker, _ func()) {
		const size = 96 << 20
		r := join(t, w, 0, "", "")
		seed := maphash.MakeSeed()
		var mu sync.Mutex
		sums := map[string]uint64{}
		hashed := func(name string, run func(h *maphash.Hash)) func() {
			return func() {
				var h maphash.Hash
				h.SetSeed(seed)
				run(&h)
				mu.Lock()
				defer mu.Unlock()
				sums[name] = h.Sum64()
			}
		}
		stopWatch, most := watchPipes(t)
		var wg sync.WaitGroup
		for name, ends := range map[string][2]*net.TCPConn{"up": {r.client, r.server}, "down": {r.server, r.client}} {
			wg.Go(hashed(name+" sent", func(h *maphash.Hash) { sendMuch(ends[0], h, size) }))
			wg.Go(hashed(name+" got", func(h *maphash.Hash) { readSlowly(ends[1], h) }))
		}
		wg.Wait()
		stopWatch()
		if err := await(t, r.done); err != nil {
			t.Errorf("done: %v", err)
		}
		if sums["up sent"] != sums["up got"] || sums["down sent"] != sums["down got"] || r.up.Load() != size || r.down.Load() != size {
			t.Errorf("hashes %v, %d up, %d down", sums, r.up.Load(), r.down.Load())
		}
		if spliced := *most > 0; spliced != strings.HasSuffix(t.Name(), "epoll") {
			t.Errorf("%d descriptors of pipes", *most)
		}
	})
}

func sendMuch(c *net.TCPConn, h *maphash.Hash, size int) {
	defer c.CloseWrite()
	random := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 1<<20)
	for left := size; left > 0; {
		p := buf[:min(left, 1+random.IntN(len(buf)))]
		for i := 0; i < len(p); i += 512 {
			p[i] = byte(random.Uint32())
		}
		left -= len(p)
		h.Write(p)
		c.Write(p)
	}
}

func readSlowly(c *net.TCPConn, h *maphash.Hash) {
	buf := make([]byte, 1<<20)
	for total := 0; ; {
		n, err := c.Read(buf)
		h.Write(buf[:n])
		if err != nil {
			return
		}
		if total>>25 != (total+n)>>25 {
			time.Sleep(5 * time.Millisecond)
		}
		total += n
	}
}

// TestResetOfMuch: a reset while pipes are full reaches the other side, and what
// was in them reaches nobody.
func TestResetOfMuch(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *loop.Worker, _ func()) {
		before := pipes()
		for i := range 4 {
			r := join(t, w, 0, "", "")
			written := make(chan error, 1)
			go func() {
				_, err := r.client.Write(bytes.Repeat([]byte{'a'}, 32<<20))
				written <- err
			}()
			io.ReadFull(r.server, make([]byte, 8<<20))
			time.Sleep(5 * time.Millisecond) // everything is full now
			gone, other := r.client, r.server
			if i%2 == 0 {
				gone, other = other, gone
			}
			gone.SetLinger(0)
			gone.Close()
			if err := await(t, r.done); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("done: %v", err)
			}
			_, err := io.Copy(io.Discard, other) // one call gets the error: this one, or the Write
			if wrote := await(t, written); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(wrote, syscall.ECONNRESET) {
				t.Errorf("the other reads %v, and writes %v", err, wrote)
			}
			next := join(t, w, 0, "", "")
			go func() { next.client.Write(bytes.Repeat([]byte{'b'}, 2<<20)); next.client.CloseWrite() }()
			got, err := io.ReadAll(next.server)
			if len(got) != 2<<20 || bytes.Contains(got, []byte("a")) || err != nil {
				t.Errorf("the next got %d bytes, %v", len(got), err)
			}
			next.server.Close()
			await(t, next.done)
		}
		w.Post(func() {})
		if n := pipes() - before; n > 8 {
			t.Errorf("%d descriptors of pipes", n)
		}
	})
}

// watchPipes looks how many descriptors of pipes this process has at most.
func watchPipes(t *testing.T) (stop func(), most *int) {
	t.Helper()
	most = new(int)
	if runtime.GOOS != "linux" {
		return func() {}, most
	}
	before := pipes()
	done, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		for {
			*most = max(*most, pipes()-before)
			select {
			case <-done:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	return func() { close(done); <-stopped }, most
}

func pipes() int {
	n := 0
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, l := range links {
		if to, _ := os.Readlink(l); strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}

// TestPipesAreLetGo when there is nothing for them to do.
func TestPipesAreLetGo(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("pipes are for Linux")
	}
	w, _ := worker(t, loop.Epoll)
	before := pipes()
	r := join(t, w, 0, "", "")
	go r.client.Write(make([]byte, 64<<20))
	if _, err := io.ReadFull(r.server, make([]byte, 64<<20)); err != nil {
		t.Error(err)
	}
	if pipes() == before {
		t.Error("no pipe was used")
	}
	for deadline := time.Now().Add(5 * time.Second); pipes() != before; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors of pipes are kept", pipes()-before)
		}
	}
}

// TestMemoryOfIdlePairs: a pair that waits costs no buffer.
func TestMemoryOfIdlePairs(t *testing.T) {
	const n = 1000
	w, _ := worker(t, loop.Auto)
	type ends struct{ client, server *net.TCPConn }
	all := make([]ends, n)
	near := make([]ends, n)
	for i := range all {
		all[i].client, near[i].client = sockettest.Pair(t)
		near[i].server, all[i].server = sockettest.Pair(t)
	}
	var count atomic.Uint64
	before := heap()
	w.Post(func() {
		for i := range near {
			tcp.Relay(w, tcp.End{Conn: near[i].client}, tcp.End{Conn: near[i].server},
				tcp.Options{IdleTimeout: time.Hour, Received: &count, Sent: &count, LimitHit: func(string) {}}, func(error) {})
		}
	})
	for _, e := range all { // each has had bytes in both directions
		buf := make([]byte, 100)
		e.client.Write(buf)
		io.ReadFull(e.server, buf)
		e.server.Write(buf)
		io.ReadFull(e.client, buf)
	}
	each := (heap() - before) / n
	t.Logf("%d bytes of heap for each of %d idle pairs", each, n)
	if each > 2048 || count.Load() != 200*n {
		t.Errorf("%d bytes for each pair, %d bytes relayed", each, count.Load())
	}
	runtime.KeepAlive(near)
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkPair(b *testing.B) {
	w, _ := worker(b, loop.Auto)
	r := join(b, w, 0, "", "")
	buf := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		r.client.Write(buf)
		io.ReadFull(r.server, buf)
	}
}

type relayed struct {
	client, server *net.TCPConn // the far ends
	up, down       atomic.Uint64
	done           chan error
	idle, unsent   atomic.Int32 // limits that were hit
}

func (r *relayed) limitHit(name string) {
	map[string]*atomic.Int32{tcp.LimitIdle: &r.idle, tcp.LimitUnsent: &r.unsent}[name].Add(1)
}
