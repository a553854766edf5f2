// SPDX-License-Identifier: Apache-2.0

package validate

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect"
)

// outcome is what became of a case.
type outcome struct {
	arrived arrival // its port is 0 where none of our listeners saw it
	ended   bool    // the connection stands, or failed with err
	err     error
	quiet   int // looks since something that was sent later has arrived, at which nobody had answered this
}

// sent is what the connection of a case says.
type sent struct {
	number int
	err    error
}

// attempt is all cases of a round on their way.
type attempt struct {
	cases    []Case
	fence    int // number of a case of ours behind all others, or -1
	conns    []net.Conn
	numbers  map[token]int
	outcomes []outcome
	said     chan sent
}

// try opens the cases one after the other, and the fence behind them, and waits
// until it is known what became of each.
func (s *stage) try(ctx context.Context, cases []Case, fence *Place) ([]outcome, error) {
	a := &attempt{cases: cases, fence: -1, numbers: make(map[token]int)}
	if fence != nil {
		a.fence = len(cases)
		flow := redirect.Flow{Dest: netip.AddrPortFrom(fence.Addr, fence.Port)}
		a.cases = append(cases[:len(cases):len(cases)], Case{Flow: flow, Want: redirect.Verdict{Action: redirect.Pass}, Ours: true})
	}
	a.conns = make([]net.Conn, len(a.cases))
	a.outcomes = make([]outcome, len(a.cases))
	a.said = make(chan sent, len(a.cases))
	var writers sync.WaitGroup
	defer writers.Wait()
	defer a.close()
	end := time.Now().Add(roundTime)
	for i, c := range a.cases {
		var t token
		if _, err := rand.Read(t[:]); err != nil {
			return nil, fmt.Errorf("make token: %w", err)
		}
		a.numbers[t] = i
		conn, err := dial(c)
		if err != nil {
			a.said <- sent{i, err}
			continue
		}
		a.conns[i] = conn
		writers.Go(func() { a.said <- sent{i, send(conn, t, end)} })
	}
	a.collect(ctx, s.arrivals)
	return a.outcomes, nil
}

func (a *attempt) close() {
	for _, c := range a.conns {
		if c != nil {
			_ = c.Close() // nobody waits for what it sent
		}
	}
}

func send(conn net.Conn, t token, end time.Time) error {
	_ = conn.SetWriteDeadline(end) // it fails where it is closed, as the write does
	_, err := conn.Write(t[:])
	return err
}

// collect returns when every case is decided, or the round is over.
func (a *attempt) collect(ctx context.Context, arrivals <-chan arrival) {
	over, grace := time.After(roundTime), (<-chan time.Time)(nil)
	extended := false
	if a.fence < 0 {
		grace = time.After(graceTime)
	}
	for !a.decided() {
		select {
		case arrived := <-arrivals:
			i, ours := a.numbers[arrived.token]
			if !ours {
				continue
			}
			a.outcomes[i].arrived = arrived
			if i == a.fence {
				grace = time.After(graceTime)
			}
		case r := <-a.said:
			a.outcomes[r.number].ended, a.outcomes[r.number].err = true, r.err
		case <-grace:
			a.calm()
			grace = time.After(lateTime)
		case <-over:
			if extended || !a.doubtful() {
				return
			}
			over, extended = time.After(doubtTime), true
		case <-ctx.Done():
			return
		}
	}
}

// calm notes which connections nobody has answered although what was sent later
// has arrived: they have left the pod. One that was answered may be on its way to
// a listener of ours.
func (a *attempt) calm() {
	for i, c := range a.conns {
		if c == nil || unanswered(c) {
			a.outcomes[i].quiet++
		} else {
			a.outcomes[i].quiet = 0
		}
	}
}

// doubtful reports whether somebody has answered a connection that is to be left
// alone: who, only time tells. Everything else is tried again when it is late.
func (a *attempt) doubtful() bool {
	for i, o := range a.outcomes {
		if a.cases[i].nowhere() && o.arrived.at == 0 && o.err == nil && o.quiet == 0 {
			return true
		}
	}
	return false
}

// decided reports whether no more time would change what is known. What should
// arrive somewhere gets a second look.
func (a *attempt) decided() bool {
	for i, o := range a.outcomes {
		known := o.arrived.at != 0 || o.err != nil || a.cases[i].nowhere() && o.quiet > 0 || o.quiet > 1
		if !known {
			return false
		}
	}
	return true
}

// synSent is TCP_SYN_SENT of linux/tcp_states.h.
const synSent = 2

// unanswered reports whether the other end has not accepted so far. Of one that
// can't be asked nobody knows.
func unanswered(c net.Conn) bool {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	waits := false
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO)
		waits = err == nil && info.State == synSent
	})
	return err == nil && waits
}
