// SPDX-License-Identifier: Apache-2.0

package loop_test

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/sockettest"
)

const (
	notify = 0xff // the end of a direction
	update = 0xfe // asks for an answer below the core, as KeyUpdate does
	bad    = 0xfd
	key    = 0x55
)

var errRecord = errors.New("bad record")

// toy is a Transport that flips bits, so that plaintext on the wire shows.
// Plaintext bytes are 7-bit.
type toy struct {
	early   string // what the handshake left behind
	answers int
	sealed  int // the most that was sealed at once
	failed  bool
	torn    error // what End says
}

func (y *toy) Open(p []byte, sink func([]byte) error) error {
	if y.early != "" {
		early := y.early
		y.early = ""
		if err := sink([]byte(early)); err != nil {
			return err
		}
	}
	start := 0
	plain := make([]byte, len(p))
	for i, b := range p {
		plain[i] = b ^ key
		switch b {
		case notify, bad, update:
			if err := sink(plain[start:i]); err != nil {
				return err
			}
			start = i + 1
		}
		switch b {
		case notify:
			return io.EOF
		case bad:
			y.failed = true
			return errRecord
		case update:
			y.answers++
		}
	}
	return sink(plain[start:])
}

func (y *toy) Seal(dst, plain []byte) ([]byte, error) {
	for ; y.answers > 0; y.answers-- {
		dst = append(dst, update)
	}
	if y.failed {
		dst = append(dst, bad)
		y.failed = false
	}
	for _, b := range plain {
		dst = append(dst, b^key)
	}
	y.sealed = max(y.sealed, len(plain))
	return dst, nil
}

func (y *toy) Pending() bool           { return y.answers > 0 || y.failed }
func (y *toy) Close(dst []byte) []byte { return append(dst, notify) }
func (y *toy) End() error              { return y.torn }

func flip(s string) []byte {
	b := []byte(s)
	for i := range b {
		b[i] ^= key
	}
	return b
}

func TestTransport(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		near, far := sockettest.Pair(t)
		w.take(near, string(flip("pending ")), &toy{early: "early "}, echo())
		far.Write(append(flip("hello"), update))
		want := append(flip("early pending hello"), update)
		got := make([]byte, len(want))
		io.ReadFull(far, got)
		if !bytes.Contains(got, []byte{update}) || !bytes.Equal(bytes.ReplaceAll(got, []byte{update}, nil), want[:len(want)-1]) {
			t.Errorf("got %q, want %q", got, want)
		}
		far.Write([]byte{notify}) // the echo closes upon the end
		if got, err := io.ReadAll(far); !bytes.Equal(got, []byte{notify}) || err != nil {
			t.Errorf("in the end %q, %v", got, err)
		}
	})
}

func TestTransportFails(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		near, far := sockettest.Pair(t)
		c := echo()
		w.take(near, "", &toy{}, c)
		far.Write(append(flip("x"), bad))
		if got, err := io.ReadAll(far); !bytes.Equal(got, append(append([]byte{bad}, flip("x")...), notify)) || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		far.Close()
		if err := await(t, c.closed); !errors.Is(err, errRecord) {
			t.Errorf("closed with %v", err)
		}
	})
}

// TestTransportIsCut: the peer's end of stream comes within a record.
func TestTransportIsCut(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		near, far := sockettest.Pair(t)
		c := echo()
		w.take(near, "", &toy{torn: io.ErrUnexpectedEOF}, c)
		far.Close()
		if err := await(t, c.closed); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("closed with %v", err)
		}
	})
}

// TestTransportOfMuch: what a slow peer has no room for stays plaintext.
func TestTransportOfMuch(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		near, far := sockettest.Pair(t)
		far.SetReadBuffer(64 << 10) // so that less will do
		y := &toy{}
		c := echo()
		drained := make(chan bool, 1)
		c.drained = func(*core) { drained <- true }
		w.take(near, "", y, c)
		big := bytes.Repeat([]byte("0123456789"), 800_000)
		var sent atomic.Uint64
		w.do(func() {
			c.conn.Count(nil, &sent)
			o := c.conn.Output()
			*o = append(*o, big...)
		})
		time.Sleep(20 * time.Millisecond)
		w.do(func() {
			if n := c.conn.Unsent(); n == 0 || n+int(sent.Load()) != len(big) {
				t.Errorf("%d unsent, %d sent", n, sent.Load())
			}
			c.conn.CloseWrite()
		})
		got, err := io.ReadAll(far)
		if err != nil || len(got) != len(big)+1 || got[len(big)] != notify || !bytes.Equal(flip(string(got[:len(big)])), big) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		await(t, drained)
		far.Close()
		if err := await(t, c.closed); err != nil || y.sealed > 256<<10 {
			t.Errorf("closed with %v, sealed %d at once", err, y.sealed)
		}
	})
}

// TestSend: bytes go at once or behind what waits, in order.
func TestSend(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *worker) {
		for name, tr := range map[string]loop.Transport{"plain": nil, "secure": &toy{}} {
			near, far := sockettest.Pair(t)
			c := echo()
			w.take(near, "", tr, c)
			ready := make(chan []byte, 1)
			go w.Post(func() {
				var want []byte
				for i, size := range []int{10, 6 << 20, 10, 100_000, 10} {
					p := bytes.Repeat([]byte{byte('a' + i)}, size)
					want = append(want, p...)
					c.conn.Send(p)
					clear(p) // it is the caller's again
					if o := c.conn.Output(); i == 2 {
						*o = append(*o, "between"...)
						want = append(want, "between"...)
					}
				}
				c.conn.CloseWrite()
				ready <- want
			})
			got, err := io.ReadAll(far)
			want := await(t, ready)
			if tr != nil {
				got = flip(string(bytes.TrimSuffix(got, []byte{notify})))
			}
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: got %d bytes, %v, want %d", name, len(got), err, len(want))
			}
			far.Close()
			if err := await(t, c.closed); err != nil {
				t.Errorf("%s: closed with %v", name, err)
			}
			w.do(func() { c.conn.Send([]byte("late")); c.conn.Close() }) // it does no harm
		}
	})
}
