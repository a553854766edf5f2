// SPDX-License-Identifier: Apache-2.0

// Package judge stands outside the cluster and tells, connection by connection,
// whether the proxy of a pod has seen it.
//
//   - A witness dials the judge and says from which port of its own. The proxy
//     dials on from a port of its own, which can't be the same while the first
//     connection lives: both have the same addresses and the same target port. So
//     a connection that arrives from the very port that the witness names went
//     past the proxy.
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
	"time"

	"github.com/shuntmesh/shunt/test/e2e/testimony"
)

// patience is how long a connection may take.
const patience = 2 * time.Second

// Tally is what is known of one pod.
type Tally struct {
	First, Last time.Time // dial that arrived
	Address     netip.Addr
	OutProxied  int // dials that came through the proxy
	OutDirect   int // dials that came past it
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

// hear files what a pod that dialled has said over a connection from remote.
func (j *Judge) hear(s testimony.Statement, remote netip.AddrPort) {
	j.file(s, func(t *Tally) {
		now := j.now()
		if t.First.IsZero() {
			t.First = now
		}
		t.Last = now
		t.Address = remote.Addr()
		if s.Address == remote {
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
	j.hear(s, remote(conn))
	_, _ = fmt.Fprintln(conn, "heard")
}

func (j *Judge) count(add func(*Report)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	add(&j.report)
}

func remote(conn net.Conn) netip.AddrPort {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
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
