// SPDX-License-Identifier: Apache-2.0

// Package judge stands outside the cluster and tells, connection by connection,
// whether the proxy of a pod has seen it.
//
//   - A witness dials the judge and offers segments of an odd size, which the proxy
//     doesn't when it dials on. So a connection that arrives with that offer went
//     past the proxy. (Addresses and ports wouldn't tell: where no rule but a
//     program captures, both connections may have the same port.)
//   - The judge dials each address of a node's pods from the moment that the node
//     gives it away. A witness that sees any peer but the proxy's own address was
//     reached past the proxy.
//
// What is refused or reset carries no byte, and is counted by itself.
package judge

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/shuntmesh/shunt/test/e2e/testimony"
)

// patience is how long a connection may take.
const patience = 2 * time.Second

// Tally is what is known of one pod.
type Tally struct {
	First, Last time.Time // dial that arrived
	OutProxied  int       // dials that came through the proxy
	OutDirect   int       // dials that came past it
	Lives       map[string]Life
}

// Life is one start of a witness.
type Life struct {
	First               time.Time
	InProxied, InDirect int // calls that it took from its proxy, and from anybody else
}

// Proxied is how many connections the proxy has seen, in either direction.
func (t Tally) Proxied() (in, out int) {
	for _, l := range t.Lives {
		in += l.InProxied
	}
	return in, t.OutProxied
}

// Direct is how many connections went past it.
func (t Tally) Direct() (in, out int) {
	for _, l := range t.Lives {
		in += l.InDirect
	}
	return in, t.OutDirect
}

// Report is all that a judge knows.
type Report struct {
	Pods map[string]Tally // by UID
	// Silent are connections that arrived and said nothing; Unread are those that
	// said what no witness says.
	Silent, Unread int
}

// Judge counts. Its zero value is not ready; see New.
type Judge struct {
	now func() time.Time

	mu     sync.Mutex
	report Report
}

// New returns a judge that has heard nobody.
func New(now func() time.Time) *Judge {
	return &Judge{now: now, report: Report{Pods: map[string]Tally{}}}
}

// Report returns a copy.
func (j *Judge) Report() Report {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.report
	r.Pods = maps.Clone(r.Pods)
	for uid, t := range r.Pods {
		t.Lives = maps.Clone(t.Lives)
		r.Pods[uid] = t
	}
	return r
}

// hear files what a pod that dialled has said over its own connection, or over
// one of its proxy.
func (j *Judge) hear(s testimony.Statement, own bool) {
	j.file(s, func(t *Tally) {
		now := j.now()
		if t.First.IsZero() {
			t.First = now
		}
		t.Last = now
		if own {
			t.OutDirect++
		} else {
			t.OutProxied++
		}
	})
}

// file takes over what a statement says of the calls that its life has taken:
// they only grow, and statements may arrive out of order.
func (j *Judge) file(s testimony.Statement, more func(*Tally)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := j.report.Pods[s.Pod]
	if t.Lives == nil {
		t.Lives = map[string]Life{}
	}
	l := t.Lives[s.Life]
	if l.First.IsZero() {
		l.First = j.now()
	}
	l.InProxied, l.InDirect = max(l.InProxied, s.Proxied), max(l.InDirect, s.Direct)
	t.Lives[s.Life] = l
	more(&t)
	j.report.Pods[s.Pod] = t
}

// Listen takes the dials of witnesses until ctx ends or the listener fails.
func (j *Judge) Listen(ctx context.Context, listener net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	var dials sync.WaitGroup
	defer dials.Wait()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("take dials: %w", err)
		}
		dials.Go(func() { j.take(conn) })
	}
}

func (j *Judge) take(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		j.count(func(r *Report) { r.Silent++ })
		return
	}
	s, err := testimony.Parse(line)
	if err != nil {
		j.count(func(r *Report) { r.Unread++ })
		return
	}
	own, err := witnesses(conn)
	if err != nil {
		j.count(func(r *Report) { r.Unread++ })
		return
	}
	j.hear(s, own)
	_, _ = fmt.Fprintln(conn, "heard")
}

func (j *Judge) count(add func(*Report)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	add(&j.report)
}

// witnesses tells whether a witness itself is at the other end of a connection:
// then the kernel sends no larger segments than a witness takes.
func witnesses(conn net.Conn) (bool, error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return false, fmt.Errorf("read segment size: %T is no TCP connection", conn)
	}
	socket, err := tcp.SyscallConn()
	if err != nil {
		return false, fmt.Errorf("read segment size: %w", err)
	}
	size := 0
	errControl := socket.Control(func(fd uintptr) {
		size, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG)
	})
	if err := errors.Join(errControl, err); err != nil {
		return false, fmt.Errorf("read segment size: %w", err)
	}
	return size <= testimony.Segment, nil
}

// ServeHTTP answers with the report.
func (j *Judge) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(j.Report())
}

// errNoAnswer is a call that reached somebody who said nothing.
var errNoAnswer = errors.New("no answer")

// call calls a witness once.
func (j *Judge) call(ctx context.Context, to netip.AddrPort) error {
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", to.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintln(conn, "judge"); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return errors.Join(errNoAnswer, err)
	}
	s, err := testimony.Parse(line)
	if err != nil {
		j.count(func(r *Report) { r.Unread++ })
		return err
	}
	j.file(s, func(*Tally) {})
	return nil
}
