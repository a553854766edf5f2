// SPDX-License-Identifier: Apache-2.0

// Command witness runs in pods whose traffic must be captured, and shows whether
// it is. The first thing that it does is to dial the judge, which stands outside
// the cluster, again and again; and it takes the judge's calls.
//
// It is small, and no part of the tests' other program, so that little time
// passes before its first instruction.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/shuntmesh/shunt/test/e2e/testimony"
)

const (
	hurry     = 100 // dials of the start
	hurryGap  = 20 * time.Millisecond
	steadyGap = 500 * time.Millisecond
	limit     = 2 * time.Second // of one connection
)

func main() {
	judge := flag.String("judge", "", "host:port of the judge")
	listen := flag.String("listen", fmt.Sprintf(":%d", testimony.PortWitness), "where to take the judge's calls; empty: nowhere")
	dials := flag.Int("dials", 0, "end after so many dials; 0: on SIGTERM")
	flag.Parse()
	w := &witness{judge: *judge, pod: os.Getenv("POD_UID"), life: strconv.FormatInt(time.Now().UnixNano(), 36)}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	var answering sync.WaitGroup
	if *listen != "" {
		answering.Go(func() { w.answer(ctx, *listen) })
	}
	w.dial(ctx, *dials)
	stop()
	answering.Wait()
}

type witness struct {
	judge, pod, life string

	mu              sync.Mutex
	proxied, direct int
}

func (w *witness) state() testimony.Statement {
	w.mu.Lock()
	defer w.mu.Unlock()
	return testimony.Statement{Pod: w.pod, Life: w.life, Proxied: w.proxied, Direct: w.direct}
}

// dial dials the judge until it has done so as often as it should, or for ever. A
// refusal is fine: it carries no byte past the proxy.
func (w *witness) dial(ctx context.Context, dials int) {
	for i := 1; ; i++ {
		w.dialOnce(ctx)
		if i == dials {
			return
		}
		gap := steadyGap
		if i < hurry {
			gap = hurryGap
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(gap):
		}
	}
}

func (w *witness) dialOnce(ctx context.Context) {
	conn, err := (&net.Dialer{Timeout: limit, Control: testimony.Offer}).DialContext(ctx, "tcp", w.judge)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(limit))
	if _, err := fmt.Fprintln(conn, w.state()); err != nil {
		return
	}
	// The judge's word is that it has read the line.
	_, _ = bufio.NewReader(conn).ReadString('\n')
}

func (w *witness) answer(ctx context.Context, address string) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, "witness:", err)
		os.Exit(1)
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		calls.Go(func() { w.take(conn) })
	}
}

// take counts a connection before a byte of it is read: that it came is enough.
func (w *witness) take(conn net.Conn) {
	defer conn.Close()
	w.mu.Lock()
	if fromProxy(conn.RemoteAddr()) {
		w.proxied++
	} else {
		w.direct++
	}
	w.mu.Unlock()
	_ = conn.SetDeadline(time.Now().Add(limit))
	// The proxy waits for who speaks first: the judge does.
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		return
	}
	_, _ = fmt.Fprintln(conn, w.state())
}

// fromProxy tells whether a peer is the proxy of this pod: it dials the
// application from these addresses, which nobody can have outside the pod.
func fromProxy(peer net.Addr) bool {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return false
	}
	addr := tcp.AddrPort().Addr().Unmap()
	return addr == netip.AddrFrom4([4]byte{127, 0, 0, 6}) || addr == netip.AddrFrom16([16]byte{15: 6})
}
