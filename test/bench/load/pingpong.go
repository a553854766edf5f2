// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// PingPong sends a message over one TCP connection, waits for its echo, and so
// on. One goroutine blocks on one socket: the client has no scheduling to do
// that could be taken for the proxy's.
func PingPong(ctx context.Context, aim Aim, l scenario.Load) (Outcome, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", aim.Address.String())
	if err != nil {
		return Outcome{}, fmt.Errorf("connect for ping-pong: %w", err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return Outcome{}, err
	}
	message := Message(l.Payload)[5:]
	echo := make([]byte, len(message))
	all := make([]time.Duration, 0, l.Requests)
	begin := time.Now()
	for range l.Requests {
		sent := time.Now()
		if err := exchange(c, message, echo); err != nil {
			return Outcome{}, fmt.Errorf("ping-pong: %w", err)
		}
		all = append(all, time.Since(sent))
		if ctx.Err() != nil {
			return Outcome{}, ctx.Err()
		}
	}
	o := Outcome{Requests: l.Requests, Elapsed: time.Since(begin), Bytes: int64(l.Requests * len(message))}
	o.setLatency(all)
	return o, nil
}

func exchange(c net.Conn, message, echo []byte) error {
	if _, err := c.Write(message); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, echo); err != nil {
		return err
	}
	if !bytes.Equal(message, echo) {
		return fmt.Errorf("echo is %q, want %q", echo, message)
	}
	return nil
}
