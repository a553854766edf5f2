// SPDX-License-Identifier: Apache-2.0

package loop_test

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/sockettest"
)

// TestIdle: a worker with idle connections and a distant timer does nothing.
func TestIdle(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		for range 10 {
			w.adopt(echo())
		}
		var far loop.Timer
		w.do(func() { w.After(&far, 24*time.Hour) })
		time.Sleep(20 * time.Millisecond)
		turns := w.Turns()
		time.Sleep(200 * time.Millisecond)
		if n := w.Turns() - turns; n > 0 {
			t.Errorf("%d turns while nothing happens", n)
		}
	})
}

func TestPostFromMany(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		const posters, each = 100, 200
		ran := 0 // on the worker alone: a race would be found
		var most atomic.Int64
		var wg sync.WaitGroup
		for range posters {
			wg.Go(func() {
				last := -1
				for i := range each {
					if !w.Post(func() {
						if ran++; i != last+1 {
							t.Errorf("%d after %d", i, last)
						}
						last = i
					}) {
						t.Error("Post refuses")
					}
					most.Store(max(most.Load(), int64(w.Backlog())))
				}
			})
		}
		wg.Wait()
		w.do(func() {
			if ran != posters*each {
				t.Errorf("%d functions ran", ran)
			}
		})
		if most.Load() > loop.PostLimit {
			t.Errorf("%d functions waited", most.Load())
		}
	})
}

// TestPostBlocks: others wait for a worker that is behind, and the worker does
// not wait for itself.
func TestPostBlocks(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		entered, release, posted := make(chan bool), make(chan bool), make(chan bool)
		var ran atomic.Int64
		w.Post(func() {
			close(entered)
			<-release
			for range loop.PostLimit + 10 {
				w.Post(func() { ran.Add(1) })
			}
		})
		await(t, entered)
		go func() {
			for range loop.PostLimit + 1 {
				w.Post(func() { ran.Add(1) })
			}
			close(posted)
		}()
		time.Sleep(20 * time.Millisecond)
		select {
		case <-posted:
			t.Error("Post does not block")
		default:
		}
		close(release)
		await(t, posted)
		for deadline := time.Now().Add(5 * time.Second); ran.Load() < 2*loop.PostLimit+11; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d functions ran", ran.Load())
			}
		}
	})
}

// TestStop: Run's end resets connections, runs what was accepted and refuses the
// rest.
func TestStop(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		c := &core{}
		far := w.adopt(c)
		var late loop.Timer
		late.F = func() { t.Error("a timer after the end") }
		entered, release := make(chan bool), make(chan bool)
		ran := false
		w.Post(func() { w.After(&late, 0); close(entered); <-release })
		await(t, entered)
		accepted := w.Post(func() {
			ran = true
			near, far := sockettest.Pair(t)
			if _, err := w.Adopt(near, nil, nil, nil); !errors.Is(err, loop.ErrStopped) {
				t.Errorf("Adopt: %v", err)
			}
			if _, err := io.ReadAll(far); err != nil {
				t.Error(err)
			}
		})
		w.stop(errStop)
		close(release)
		w.end()
		if err := await(t, c.closed); !errors.Is(err, errStop) && err != nil {
			t.Errorf("closed with %v", err)
		}
		if _, err := io.ReadAll(far); err == nil {
			t.Error("the peer was not reset")
		}
		if accepted != ran {
			t.Errorf("accepted %t, ran %t", accepted, ran)
		}
		if w.Post(func() { t.Error("it runs") }) {
			t.Error("Post after the end")
		}
		if w.Conns() != 0 {
			t.Errorf("Conns: %d", w.Conns())
		}
	})
}

func TestTimers(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		var distant loop.Timer
		w.do(func() { w.After(&distant, time.Hour) })
		time.Sleep(5 * time.Millisecond) // it sleeps for an hour now
		began := time.Now()
		var order []int
		done, thrice := make(chan bool), make(chan bool)
		timers := make([]loop.Timer, 6)
		again := 0
		w.do(func() {
			for i, ms := range []int{60, 20, 0, 40, 30, 30} {
				timers[i].F = func() {
					order = append(order, i)
					if d := w.Now().Sub(began); d < time.Duration(ms)*time.Millisecond {
						t.Errorf("timer of %d ms after %v", ms, d)
					}
				}
				w.After(&timers[i], time.Duration(ms)*time.Millisecond)
			}
			timers[1].Stop()
			timers[1].Stop()
			timers[2].F = func() { // in a callback: stop one, set itself
				timers[5].Stop()
				if again++; again < 3 {
					w.After(&timers[2], 0)
				} else {
					close(thrice)
				}
			}
			w.After(&timers[3], 80*time.Millisecond) // anew
			last := timers[3].F
			timers[3].F = func() { last(); close(done) }
		})
		await(t, done)
		await(t, thrice)
		w.do(func() {
			if want := []int{4, 0, 3}; !slices.Equal(order, want) {
				t.Errorf("order %v, want %v", order, want)
			}
		})
		if took := time.Since(began); took > 300*time.Millisecond {
			t.Errorf("80 ms took %v", took)
		}
	})
}

// TestTimerOfCore: a core sets one while the worker sleeps for longer.
func TestTimerOfCore(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		var timer loop.Timer
		c := &core{receive: func(c *core, _ []byte) error {
			timer.F = c.conn.Close
			w.After(&timer, 20*time.Millisecond)
			return nil
		}}
		far := w.adopt(c)
		far.Write([]byte("x"))
		if _, err := io.ReadAll(far); err != nil {
			t.Error(err)
		}
		far.Close()
		if err := await(t, c.closed); err != nil {
			t.Error(err)
		}
	})
}

func TestLoadAndStall(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		w.do(func() {})
		w.MaxStall()
		w.do(func() { time.Sleep(60 * time.Millisecond) })
		w.do(func() {})
		if s := w.MaxStall(); s < 60*time.Millisecond || s > time.Second {
			t.Errorf("MaxStall: %v", s)
		}
		if s := w.MaxStall(); s > 50*time.Millisecond {
			t.Errorf("MaxStall again: %v", s)
		}
		if l := w.Load(); l < 0.04 || l > 1 {
			t.Errorf("Load: %v", l)
		}
	})
}

// TestLeastBusyOfWorkers: the second is at work when the first has too much.
func TestLeastBusyOfWorkers(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		second := start(t, loop.Options{})
		both := []*loop.Worker{w.Worker, second.Worker}
		w.adopt(&core{})
		w.do(func() {})
		if i := loop.LeastBusy(both); i != 0 {
			t.Errorf("worker %d", i)
		}
		for deadline := time.Now().Add(5 * time.Second); loop.LeastBusy(both) == 0; {
			if time.Now().After(deadline) {
				t.Fatalf("load %v, and still the first", w.Load())
			}
			w.do(func() { time.Sleep(50 * time.Millisecond) })
		}
	})
}

// replaced is the core of a connection that makes room for others.
type replaced struct {
	core
	replace func()
}

func (r *replaced) Closed(error) { r.replace() }

// TestReuseWithinBatch: connections are reported as reset together, and replaced
// by paused ones, with the same descriptors, before the turn of most comes. Those
// must not get the others' events.
func TestReuseWithinBatch(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		const n = 50
		var first []*replaced
		var second []*core
		var fars, replacements, nears []*net.TCPConn
		reused := 0
		once := sync.OnceFunc(func() {
			fds := map[int]bool{}
			for _, c := range first {
				fds[c.conn.FD()] = true
				c.conn.Vanish()
			}
			for _, near := range nears {
				c := &core{closed: make(chan error, 1)}
				if _, err := w.Adopt(near, nil, nil, func(conn *loop.Conn) loop.Core { c.conn = conn; return c }); err != nil {
					t.Error(err)
				}
				c.conn.Pause(true)
				second = append(second, c)
				if fds[c.conn.FD()] {
					reused++
				}
			}
		})
		for range n {
			near, far := sockettest.Pair(t)
			c := &replaced{replace: once}
			w.do(func() {
				if _, err := w.Adopt(near, nil, nil, func(conn *loop.Conn) loop.Core { c.conn = conn; return c }); err != nil {
					t.Error(err)
				}
			})
			first, fars = append(first, c), append(fars, far)
		}
		for range n {
			near, far := sockettest.Pair(t)
			nears, replacements = append(nears, near), append(replacements, far)
		}
		var nulls []*os.File // take the descriptors of the far ends
		w.do(func() {        // all are ready when the next turn begins
			for _, far := range fars {
				far.SetLinger(0)
				far.Close()
				null, _ := os.Open(os.DevNull)
				nulls = append(nulls, null)
			}
		})
		time.Sleep(20 * time.Millisecond)
		for _, null := range nulls {
			null.Close()
		}
		w.do(func() {
			if len(second) != n || reused < n/2 || w.Conns() != n {
				t.Errorf("%d replaced, %d descriptors used again, %d connections", len(second), reused, w.Conns())
			}
		})
		for i, c := range second {
			replacements[i].SetLinger(0)
			replacements[i].Close()
			if err := await(t, c.closed); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("closed with %v", err)
			}
		}
	})
}

// TestNoAllocations: in steady state a round trip costs no memory.
func TestNoAllocations(t *testing.T) {
	w := start(t, loop.Options{})
	far := w.adopt(echo())
	buf := make([]byte, 100)
	if n := testing.AllocsPerRun(200, func() {
		far.Write(buf)
		io.ReadFull(far, buf)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
