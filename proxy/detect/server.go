// SPDX-License-Identifier: Apache-2.0

package detect

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/sniff"
)

// listenToServer dials endpoints until one stays. One that closes before it
// has said a thing is as good as one that refused: nothing was sent to it.
func (d *detection) listenToServer(ctx context.Context) {
	var tried []*balance.Endpoint
	why := reason.NoEndpoints
	for range maxTries {
		e, conn, reasonOf := d.dial(ctx, tried)
		if conn == nil && (e != nil || len(tried) == 0) {
			why = reasonOf
		}
		if e == nil {
			break
		}
		tried = append(tried, e)
		if conn != nil {
			held, keep := d.listen(conn)
			if keep {
				d.result = Result{Endpoint: e, Upstream: conn, Server: held}
				return
			}
			_ = conn.Close()
			why = reason.UpstreamReset
		}
		if d.clientSpeaksHTTP() || ctx.Err() != nil {
			break // its requests find an endpoint by themselves
		}
	}
	d.result = Result{Reason: why}
	d.update(func() { d.deadAt = time.Now() })
}

// listen reads until it is clear whether conn is used, and by whom.
func (d *detection) listen(conn *net.TCPConn) (held []byte, keep bool) {
	if !d.reading(conn) {
		return nil, true
	}
	held = make([]byte, 0, 256)
	for {
		if len(held) == cap(held) {
			held = append(make([]byte, 0, maxHeld), held...)
		}
		n, err := conn.Read(held[len(held):cap(held)])
		held = held[:len(held)+n]
		if n > 0 && !sniff.ServerMaybeHTTP2(held) {
			d.update(func() { d.spoke = true })
			return held, !d.clientSpeaksHTTP()
		}
		if err != nil {
			return held, errors.Is(err, os.ErrDeadlineExceeded)
		}
		if len(held) == maxHeld {
			return held, true
		}
	}
}

// reading registers conn for an interrupt; false means that the client has
// decided already.
func (d *detection) reading(conn *net.TCPConn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.upstream = conn
	return d.decided == sniff.More && !d.ended
}

// clientSpeaksHTTP tells whether the client was first, with HTTP or what holds it.
// Bytes of the server that are no SETTINGS frame are then of no use.
func (d *detection) clientSpeaksHTTP() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.options.findsEndpoints(d.decided)
}
