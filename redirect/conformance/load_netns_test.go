// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/internal/figure"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// Sizes of the load. Of a few bursts the best counts: one whose threads the
// kernel places badly measures the placement, which makes a factor of four.
const (
	connectSamples   = 400
	bursts           = 5
	roundTripSamples = 400 // of a burst
	rateWorkers      = 4
	rateTime         = 100 * time.Millisecond // of a burst
)

// discard serves an echo that is never closed first. It listens as the proxy does.
func discard(b *testing.B, n *testnet.Namespace, addr string) {
	b.Helper()
	l := n.Listener(b, addr, false)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	b.Cleanup(func() { _ = l.Close(); wg.Wait() })
}

// connectTime returns the median time of connect(2), in microseconds: the
// kernel's whole handshake, without the listener's part.
func connectTime(b *testing.B, n *testnet.Namespace, dest string) float64 {
	b.Helper()
	to := inet4(dest)
	var took []float64
	n.Do(b, func() error {
		for range connectSamples {
			begin := time.Now()
			s, err := open(to)
			if err != nil {
				return err
			}
			took = append(took, micros(time.Since(begin)))
			if err := unix.Close(s); err != nil {
				return err
			}
		}
		return nil
	})
	return figure.Median(took)
}

// roundTrip returns the median time of 64 bytes there and back on one
// connection, in microseconds.
func roundTrip(b *testing.B, n *testnet.Namespace, dest string) float64 {
	b.Helper()
	to := inet4(dest)
	var medians []float64
	n.Do(b, func() error {
		s, err := open(to)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		for range bursts {
			var took []float64
			for range roundTripSamples {
				begin := time.Now()
				if err := ping(s); err != nil {
					return err
				}
				took = append(took, micros(time.Since(begin)))
			}
			medians = append(medians, figure.Median(took))
		}
		return nil
	})
	return slices.Min(medians)
}

// ping sends 64 bytes and reads as many.
func ping(s int) error {
	buf := make([]byte, 64)
	if _, err := unix.Write(s, buf); err != nil {
		return err
	}
	for got := 0; got < len(buf); {
		n, err := unix.Read(s, buf[got:])
		if err != nil || n == 0 {
			return io.ErrUnexpectedEOF
		}
		got += n
	}
	return nil
}

// connectionRate returns how many connections a second are opened and ended.
func connectionRate(b *testing.B, n *testnet.Namespace, dest string) float64 {
	b.Helper()
	var best float64
	for range bursts {
		best = max(best, rateOfBurst(b, n, inet4(dest)))
	}
	return best
}

func rateOfBurst(b *testing.B, n *testnet.Namespace, to unix.SockaddrInet4) float64 {
	b.Helper()
	counts := make([]int, rateWorkers)
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range counts {
		wg.Go(func() {
			n.Do(b, func() error {
				for time.Since(begin) < rateTime {
					s, err := open(to)
					if err != nil {
						return err
					}
					if err := unix.Close(s); err != nil {
						return err
					}
					counts[i]++
				}
				return nil
			})
		})
	}
	wg.Wait()
	total := 0
	for _, c := range counts {
		total += c
	}
	return float64(total) / time.Since(begin).Seconds()
}

// open connects a socket that ends with a reset, so that no port waits for a
// minute.
func open(to unix.SockaddrInet4) (int, error) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = unix.SetsockoptLinger(s, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	if err == nil {
		err = unix.Connect(s, &to)
	}
	if err != nil {
		_ = unix.Close(s)
		return -1, err
	}
	return s, nil
}

func inet4(dest string) unix.SockaddrInet4 {
	ap := netip.MustParseAddrPort(dest)
	return unix.SockaddrInet4{Addr: ap.Addr().As4(), Port: int(ap.Port())}
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
