// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"crypto/tls"
	"errors"
	"testing"
	"time"
)

// TestLoopHasItsTurn: a handshake does not compute before a loop has had a turn,
// and gives up in time, slot and all, when none comes.
func TestLoopHasItsTurn(t *testing.T) {
	w := newWorld(t)
	turns := make(chan func(), 10)
	h := newHandshaker(t, Options{
		Server: w.serverConfig(t, ServerOptions{}), Computing: 1, Deadline: 200 * time.Millisecond,
		Turn: func(f func()) bool { turns <- f; return true },
	})
	late, b := sockets(t)
	results := make(chan Result, 1)
	h.Server(b, recordOf(clientHello(t)), func(r Result) { results <- r })
	if r := <-results; !errors.Is(r.Err, ErrDeadline) || len(turns) != 1 {
		t.Errorf("without a turn, %d asked for: %v", len(turns), r.Err)
	}
	late.Close()
	(<-turns)() // too late, and harmless

	a, b := sockets(t)
	h.Server(b, nil, func(r Result) { results <- r })
	shaken := make(chan error, 1)
	go func() {
		shaken <- tls.Client(a, w.client.Client(ClientOptions{ServerName: serverName})).Handshake()
	}()
	for {
		select {
		case f := <-turns:
			f()
		case r := <-results:
			r.must(t)
			if err := <-shaken; err != nil {
				t.Error(err)
			}
			return
		}
	}
}
