// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"net"
	"time"
)

// duplex is an end of a connection in memory whose writes never block.
type duplex struct {
	net.Conn // where crypto/tls goes once it is set
	in, out  chan []byte
	rest     []byte
}

func newDuplex() (a, b *duplex) {
	x, y := make(chan []byte, 64), make(chan []byte, 64)
	return &duplex{in: x, out: y}, &duplex{in: y, out: x}
}

func (d *duplex) Read(p []byte) (int, error) {
	if d.Conn != nil {
		return d.Conn.Read(p)
	}
	if len(d.rest) == 0 {
		d.rest = <-d.in
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

func (d *duplex) Write(p []byte) (int, error) {
	if d.Conn != nil {
		return d.Conn.Write(p)
	}
	d.out <- append([]byte(nil), p...)
	return len(p), nil
}

func (d *duplex) RemoteAddr() net.Addr             { return nil }
func (d *duplex) SetWriteDeadline(time.Time) error { return nil }
