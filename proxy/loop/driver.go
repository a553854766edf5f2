// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"net"
)

// driver moves bytes between sockets and a Worker, and gives the Worker its
// turns. Its calls are made on the worker, but for wake.
type driver interface {
	// run gives turns until ctx ends, then calls Worker.stop.
	run(ctx context.Context) error
	// wake makes a turn happen.
	wake()
	// adopt takes the descriptor of tcp over, and closes tcp.
	adopt(c *Conn, tcp *net.TCPConn) error
	// read and write try once; errAgain means that the socket is not ready.
	read(c *Conn, p []byte) (int, error)
	write(c *Conn, p []byte) (int, error)
	// watch makes input and room for output cause turns as Conn.wantsInput and
	// Conn.blocked say.
	watch(c *Conn)
	// ignore keeps a paused connection whose input is not wanted from causing
	// turns, until watch.
	ignore(c *Conn)
	// pendingError takes the socket's error.
	pendingError(c *Conn) error
	// splice moves input of c into its peer's pipe, unsplice the pipe's content
	// to c. They are called when canSplice only.
	canSplice() bool
	splice(c *Conn, p *pipe) (int, error)
	unsplice(c *Conn, p *pipe) (int, error)
	closeWrite(c *Conn)
	close(c *Conn, reset bool)
}
