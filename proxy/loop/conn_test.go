// SPDX-License-Identifier: Apache-2.0

package loop_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/sockettest"
)

func TestConnIsSmall(t *testing.T) {
	if loop.ConnSize > 224 {
		t.Errorf("a Conn has %d bytes", loop.ConnSize)
	}
}

// TestEchoOfMuch: 64 MiB come back whole, in bounded memory, through a reader
// that is slower than the writer.
func TestEchoOfMuch(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		const size = 64 << 20
		c := echo()
		var most int
		receive := c.receive
		c.receive = func(c *core, p []byte) error {
			err := receive(c, p)
			most = max(most, c.conn.Unsent(), cap(*c.conn.Output()))
			return err
		}
		far := w.adopt(c)
		var received, sent atomic.Uint64
		w.do(func() { c.conn.Count(&received, &sent) })
		seed := maphash.MakeSeed()
		var wrote, read maphash.Hash
		wrote.SetSeed(seed)
		read.SetSeed(seed)
		go func() {
			defer far.CloseWrite()
			r := rand.New(rand.NewPCG(1, 2))
			buf := make([]byte, 300_000)
			for left := size; left > 0; {
				p := buf[:min(left, 1+r.IntN(len(buf)))]
				for i := 0; i < len(p); i += 64 {
					p[i] = byte(r.Uint32())
				}
				left -= len(p)
				wrote.Write(p)
				far.Write(p)
			}
		}()
		buf := make([]byte, 100_000)
		total := 0
		for {
			n, err := far.Read(buf)
			read.Write(buf[:n])
			if total += n; err != nil {
				break
			}
			if total>>20 != (total-n)>>20 {
				time.Sleep(time.Millisecond)
			}
		}
		if err := await(t, c.closed); err != nil || total != size || read.Sum64() != wrote.Sum64() {
			t.Errorf("%d bytes came back, closed with %v, same: %t", total, err, read.Sum64() == wrote.Sum64())
		}
		if received.Load() != size || sent.Load() != size {
			t.Errorf("counted %d and %d", received.Load(), sent.Load())
		}
		if most > 2*(loop.DefaultHighWater+loop.ReadSize) {
			t.Errorf("held up to %d bytes", most)
		}
	})
}

func TestReset(t *testing.T) {
	tests := map[string]func(c *core, far *net.TCPConn, w *worker){
		"reading": func(*core, *net.TCPConn, *worker) {},
		"paused":  func(c *core, _ *net.TCPConn, w *worker) { w.do(func() { c.conn.Pause(true) }) },
		"paused late": func(c *core, far *net.TCPConn, w *worker) {
			w.do(func() { c.conn.Pause(true) })
			far.Write([]byte("x"))
		},
		"half-closed": func(_ *core, far *net.TCPConn, _ *worker) { far.CloseWrite() },
		"with output": func(c *core, _ *net.TCPConn, w *worker) {
			w.do(func() { c.conn.Send(make([]byte, 16<<20)) })
		},
	}
	eachDriver(t, func(t *testing.T, w *worker) {
		for name, before := range tests {
			c := &core{end: func(*core) error { return nil }}
			far := w.adopt(c)
			before(c, far, w)
			time.Sleep(5 * time.Millisecond)
			far.SetLinger(0)
			far.Close()
			if err := await(t, c.closed); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s: closed with %v", name, err)
			}
		}
		c := &core{receive: func(c *core, _ []byte) error { c.conn.Abort(); return nil }}
		far := w.adopt(c)
		far.Write([]byte("x"))
		if _, err := io.ReadAll(far); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after Abort the peer reads %v", err)
		}
		if err := await(t, c.closed); !errors.Is(err, loop.ErrAborted) {
			t.Errorf("after Abort: %v", err)
		}
	})
}

// TestHalfClose: each direction ends by itself, and when both have, it is over.
func TestHalfClose(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		ended := make(chan bool, 2)
		c := &core{end: func(*core) error { ended <- true; return nil }}
		far := w.adopt(c)
		far.CloseWrite()
		await(t, ended)
		turns := w.Turns()
		time.Sleep(50 * time.Millisecond)
		if n := w.Turns() - turns; n > 3 {
			t.Errorf("%d turns after the peer's end", n)
		}
		big := bytes.Repeat([]byte("late "), 1_000_000)
		w.do(func() { c.conn.Send(big); c.conn.CloseWrite() })
		if got, err := io.ReadAll(far); !bytes.Equal(got, big) || err != nil {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		if err := await(t, c.closed); err != nil || len(ended) > 0 {
			t.Errorf("closed with %v, told of the end %d times more", err, len(ended))
		}

		c = &core{end: func(*core) error { return nil }}
		far = w.adopt(c)
		w.do(c.conn.CloseWrite) // ours first
		if got, err := io.ReadAll(far); len(got) > 0 || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		far.Close()
		if err := await(t, c.closed); err != nil {
			t.Errorf("closed with %v", err)
		}
	})
}

// TestPause: what waits in the socket of a paused connection causes no turns,
// not even when both sides have ended.
func TestPause(t *testing.T) {
	for _, withEnd := range []bool{false, true} {
		eachDriver(t, func(t *testing.T, w *worker) {
			var got []byte
			full := make(chan bool, 1)
			c := &core{receive: func(_ *core, p []byte) error {
				if got = append(got, p...); len(got) == 1000 {
					full <- true
				}
				return nil
			}}
			far := w.adopt(c)
			w.do(func() { c.conn.Pause(true) })
			if withEnd {
				w.do(c.conn.CloseWrite)
			}
			far.Write(make([]byte, 1000))
			if withEnd {
				far.CloseWrite()
			}
			time.Sleep(10 * time.Millisecond)
			turns := w.Turns()
			time.Sleep(50 * time.Millisecond)
			if n := w.Turns() - turns; n > 1 {
				t.Errorf("%d turns while paused", n)
			}
			w.do(func() {
				if len(got) > 0 {
					t.Errorf("got %d bytes while paused", len(got))
				}
				c.conn.Pause(false)
			})
			await(t, full)
			far.CloseWrite()
			if err := await(t, c.closed); err != nil {
				t.Errorf("closed with %v", err)
			}
		})
	}
}

func TestManyConnections(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		const n = 1000
		cores := make([]*core, n)
		fars := make([]*net.TCPConn, n)
		for i := range cores {
			cores[i] = echo()
			fars[i] = w.adopt(cores[i])
		}
		if w.Conns() != n {
			t.Errorf("Conns: %d", w.Conns())
		}
		var wg sync.WaitGroup
		for i, far := range fars {
			wg.Go(func() {
				want := fmt.Sprintf("connection %d", i)
				io.WriteString(far, want)
				far.CloseWrite()
				if got, err := io.ReadAll(far); string(got) != want || err != nil {
					t.Errorf("got %q, %v, want %q", got, err, want)
				}
			})
		}
		wg.Wait()
		for _, c := range cores {
			if err := await(t, c.closed); err != nil {
				t.Error(err)
			}
		}
		if w.Conns() != 0 {
			t.Errorf("Conns: %d in the end", w.Conns())
		}
	})
}

// TestCoreFails: an error of the core closes the connection behind its output,
// which the peer gets although it sends on.
func TestCoreFails(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		errBad := errors.New("bad byte")
		calls := 0
		c := &core{receive: func(c *core, _ []byte) error {
			calls++
			o := c.conn.Output()
			*o = append(*o, "go away"...)
			return errBad
		}}
		far := w.adopt(c)
		far.Write([]byte("x"))
		time.Sleep(10 * time.Millisecond)
		for range 4 { // within the time that a close may take
			if _, err := far.Write(make([]byte, 1<<20)); err != nil {
				t.Errorf("what the peer still sends: %v", err)
			}
		}
		if got, err := io.ReadAll(far); string(got) != "go away" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		far.Close()
		if err := await(t, c.closed); !errors.Is(err, errBad) || calls != 1 {
			t.Errorf("closed with %v, received %d times", err, calls)
		}
	})
}

// TestCloseIsBounded: the peer neither reads nor closes.
func TestCloseIsBounded(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		for size, want := range map[int]error{32 << 20: loop.ErrCloseTimeout, 10: nil} {
			c := &core{}
			far := w.adopt(c)
			w.do(func() { c.conn.Send(make([]byte, size)); c.conn.Close() })
			if err := await(t, c.closed); !errors.Is(err, want) {
				t.Errorf("%d bytes: closed with %v, want %v", size, err, want)
			}
			if n, err := io.Copy(io.Discard, far); want == nil && (n != int64(size) || err != nil) || want != nil && err == nil {
				t.Errorf("%d bytes: the peer reads %d, %v", size, n, err)
			}
		}
	})
}

func TestAdopt(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		near, _ := sockettest.Pair(t)
		got := make(chan string, 10)
		c := &core{receive: func(_ *core, p []byte) error { got <- string(p); return nil }}
		w.take(near, "pending", nil, c)
		if _, err := near.Write([]byte("x")); !errors.Is(err, net.ErrClosed) && w.Conns() == 1 && c.conn.FD() != 0 {
			t.Errorf("the original: %v", err)
		}
		if s := await(t, got); s != "pending" {
			t.Errorf("got %q", s)
		}
	})
}
