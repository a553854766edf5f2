// SPDX-License-Identifier: Apache-2.0

// Package detect finds out what a connection speaks without a stall: the
// upstream is dialled at once, and whoever speaks first decides. A server that
// speaks first is relayed as TCP; nothing waits for a timeout.
package detect

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/sniff"
)

// maxTries is how many endpoints are dialled for one client.
const maxTries = 3

// maxHeld bounds what is held of a server that may speak HTTP/2: its SETTINGS.
const maxHeld = 4 << 10

// Dial connects to an endpoint that is not among tried. No endpoint means that
// none is left, no connection that this one could not be reached.
type Dial func(ctx context.Context, tried []*balance.Endpoint) (*balance.Endpoint, *net.TCPConn, reason.Reason)

// Options bound the waiting; each is for a case that is no verdict.
type Options struct {
	// Partial is how long a client may stay in the middle of what looks like
	// the beginning of HTTP, before it is relayed as TCP.
	Partial time.Duration
	// Silent is how long a client may say nothing when no upstream is there.
	// One that turns out to speak HTTP is served all the same.
	Silent time.Duration
	// TimedOut is called when either is over.
	TimedOut func()
	// EndsTLS says that clients' TLS is ended here: one that speaks it needs no
	// upstream yet, like one that speaks HTTP.
	EndsTLS bool
}

// Result is what was found. The caller owns Upstream.
type Result struct {
	Protocol sniff.Protocol // never More
	Client   []byte         // what the client has said so far
	Gone     bool           // the client ended before it said a thing
	Endpoint *balance.Endpoint
	Upstream *net.TCPConn // nil when none could be reached
	Server   []byte       // what Upstream has said so far
	Reason   reason.Reason
}

type detection struct {
	client  *net.TCPConn
	dial    Dial
	options Options
	begun   []byte // what the client had said when it was accepted
	gone    bool   // the client ended before it said a thing

	mu       sync.Mutex
	decided  sniff.Protocol // by the client; More until then
	spoke    bool           // the server has decided
	ended    bool           // ctx has
	upstream *net.TCPConn   // that is being read
	firstAt  time.Time      // of the client's first bytes
	deadAt   time.Time      // when the last upstream was gone
	result   Result
}

// bufferSize is more than a verdict ever needs.
const bufferSize = sniff.MaxBytes + 512

// read takes what a client has said already, and does not wait. Most of those
// that speak first have by the time that they are accepted.
func read(c *net.TCPConn) (begun []byte, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var n int
	buf := make([]byte, bufferSize)
	if ctlErr := raw.Control(func(fd uintptr) { n, err = receive(fd, buf) }); ctlErr != nil {
		return nil, ctlErr
	}
	return buf[:max(n, 0)], err
}

// findsEndpoints tells of a client whose requests find endpoints by themselves.
func (o Options) findsEndpoints(p sniff.Protocol) bool {
	return p == sniff.HTTP1 || p == sniff.HTTP2 || o.EndsTLS && p == sniff.TLS
}

// almost is how long a client that speaks HTTP waits for the endpoint that was
// dialled while it was silent: most answer within, and the connection is of use.
const almost = 20 * time.Millisecond

// past interrupts a Read.
var past = time.Unix(1, 0)

// Run returns when it is clear what the client speaks, with the upstream that
// is to be used. An error means that the client has gone, or ctx has ended,
// and there is nothing to do but to close.
func Run(ctx context.Context, client *net.TCPConn, dial Dial, o Options) (Result, error) {
	begun, err := read(client)
	if err != nil {
		return Result{}, err
	}
	verdict := sniff.Client(begun)
	if o.findsEndpoints(verdict) {
		return Result{Protocol: verdict, Client: begun}, nil // its requests find endpoints by themselves
	}
	d := &detection{client: client, dial: dial, options: o, begun: begun, decided: verdict}
	stop := context.AfterFunc(ctx, func() { d.update(func() { d.ended = true }) })
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var server sync.WaitGroup
	server.Go(func() { d.listenToServer(ctx) })
	protocol, said, err := d.listenToClient(ctx)
	d.decide(protocol)
	switch {
	case err != nil:
		cancel()
	case o.findsEndpoints(protocol):
		defer time.AfterFunc(almost, cancel).Stop()
	}
	server.Wait()
	stop()
	if err != nil {
		if d.result.Upstream != nil {
			_ = d.result.Upstream.Close()
		}
		return Result{Reason: d.result.Reason}, err
	}
	d.result.Protocol, d.result.Client, d.result.Gone = protocol, said, d.gone
	_ = client.SetReadDeadline(time.Time{})
	if d.result.Upstream != nil {
		_ = d.result.Upstream.SetReadDeadline(time.Time{})
	}
	return d.result, nil
}

// ErrSilent is returned for a client that said nothing when no upstream could
// be reached.
var ErrSilent = errors.New("no upstream and a silent client")

func (d *detection) listenToClient(ctx context.Context) (sniff.Protocol, []byte, error) {
	buf := d.begun
	if d.decided != sniff.More {
		return d.decided, buf, nil
	}
	if len(buf) > 0 {
		d.said()
	}
	for {
		n, err := d.client.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n > 0 {
			if p := sniff.Client(buf); p != sniff.More {
				return p, buf, nil
			}
			d.said()
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if p, err := d.interrupted(ctx, len(buf) > 0); p != sniff.More || err != nil {
				return p, buf, err
			}
		case errors.Is(err, io.EOF):
			d.gone = len(buf) == 0
			return sniff.Opaque, buf, nil // the relay passes the end on
		default:
			return sniff.Opaque, nil, err
		}
	}
}

// interrupted says why the deadline of the client's Read was over.
func (d *detection) interrupted(ctx context.Context, partial bool) (sniff.Protocol, error) {
	if err := ctx.Err(); err != nil {
		return sniff.Opaque, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.spoke:
		return sniff.Opaque, nil
	case partial && time.Since(d.firstAt) >= d.options.Partial:
		d.options.TimedOut()
		return sniff.Opaque, nil
	case !partial && !d.deadAt.IsZero() && time.Since(d.deadAt) >= d.options.Silent:
		d.options.TimedOut()
		return sniff.Opaque, ErrSilent
	default:
		return sniff.More, nil
	}
}

func (d *detection) said() {
	d.update(func() {
		if d.firstAt.IsZero() {
			d.firstAt = time.Now()
		}
	})
}

// update changes the state and with it the deadline of the client's Read.
func (d *detection) update(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
	var deadline time.Time
	switch {
	case d.decided != sniff.More:
	case d.ended || d.spoke:
		deadline = past
	case !d.firstAt.IsZero():
		deadline = d.firstAt.Add(d.options.Partial)
	case !d.deadAt.IsZero():
		deadline = d.deadAt.Add(d.options.Silent)
	}
	_ = d.client.SetReadDeadline(deadline)
}

// decide ends the listening to the server, once the client has decided.
func (d *detection) decide(p sniff.Protocol) {
	d.update(func() {
		d.decided = p
		if d.upstream != nil {
			_ = d.upstream.SetReadDeadline(past)
		}
	})
}
