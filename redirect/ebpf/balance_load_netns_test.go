// SPDX-License-Identifier: Apache-2.0

//go:build netns

package ebpf

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/figure"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
	"github.com/shuntmesh/shunt/redirect/netns"
)

// The load: so many threads open a connection, have 64 bytes echoed and end it.
// Of a few bursts the best counts: one whose threads the kernel places badly
// measures the placement.
const (
	callers        = 4
	bursts         = 5
	burstTime      = 150 * time.Millisecond
	connectSamples = 400
)

// relayEnv makes the test binary a relay to that address.
const relayEnv = "SHUNT_EBPF_RELAY"

// relayMain is as little as a proxy can do: accept, dial, copy both ways.
func relayMain(to string) error {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", contract.PortOutbound))
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			up, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			defer up.Close()
			_ = up.(*net.TCPConn).SetLinger(0)
			go func() { _, _ = io.Copy(c, up) }()
			_, _ = io.Copy(up, c)
		}()
	}
}

// serveEcho echoes at both addresses until the returned function.
func serveEcho(b *testing.B, ns *testnet.Namespace, addrs ...string) (end func()) {
	var wg sync.WaitGroup
	var listeners []net.Listener
	for _, addr := range addrs {
		var l net.Listener
		ns.Do(b, func() (err error) {
			l, err = net.Listen("tcp", addr)
			return err
		})
		listeners = append(listeners, l)
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
	}
	return func() {
		for _, l := range listeners {
			_ = l.Close()
		}
		wg.Wait()
	}
}

// rate returns connections a second, over all callers.
func (s *bench) rate(dest string) (float64, error) {
	counts := make([]int, callers)
	begin := time.Now()
	var group errgroup.Group
	for i := range counts {
		group.Go(func() error {
			return netns.In(s.pod.Path(), func() (err error) {
				counts[i], err = callFor(dest, burstTime)
				return err
			})
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	total := 0
	for _, c := range counts {
		total += c
	}
	return float64(total) / time.Since(begin).Seconds(), nil
}

// burst calls for a time, once at least.
func (s *bench) burst(dest string, d time.Duration) error {
	return netns.In(s.pod.Path(), func() error {
		_, err := callFor(dest, d)
		return err
	})
}

func callFor(dest string, d time.Duration) (calls int, err error) {
	to := sockaddr(netip.MustParseAddrPort(dest).Addr(), int(netip.MustParseAddrPort(dest).Port()))
	buf := make([]byte, 64)
	for begin := time.Now(); calls == 0 || time.Since(begin) < d; calls++ {
		if err := callOnce(to, buf, nil); err != nil {
			return calls, err
		}
	}
	return calls, nil
}

// callOnce ends with a reset, so that no port waits for a minute.
func callOnce(to unix.Sockaddr, buf []byte, connected func()) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	if err := unix.SetsockoptLinger(s, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return err
	}
	if err := unix.Connect(s, to); err != nil {
		return err
	}
	if connected != nil {
		connected()
	}
	if _, err := unix.Write(s, buf); err != nil {
		return err
	}
	for got := 0; got < len(buf); {
		n, err := unix.Read(s, buf[got:])
		if err != nil || n == 0 {
			return cmp.Or(err, io.ErrUnexpectedEOF)
		}
		got += n
	}
	return nil
}

// connectTime returns the median time of socket(2), connect(2) and what is between
// them, in microseconds.
func (s *bench) connectTime(dest string) (us float64, err error) {
	ap := netip.MustParseAddrPort(dest)
	var took []float64
	err = netns.In(s.pod.Path(), func() error {
		for range connectSamples {
			begin := time.Now()
			err := callOnce(sockaddr(ap.Addr(), int(ap.Port())), make([]byte, 64), func() {
				took = append(took, float64(time.Since(begin).Nanoseconds())/1000)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return figure.Median(took), err
}
