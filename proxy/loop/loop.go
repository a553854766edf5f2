// SPDX-License-Identifier: Apache-2.0

// Package loop is where the data path does its I/O: a Worker owns sockets, reads
// each that is ready once a turn, gives what it read to the connection's Core,
// and writes each connection's output once. Cores know nothing of descriptors;
// loop knows nothing of protocols. It touches the sockets that it is given, an
// epoll and an eventfd descriptor, and pipes for splice(2).
package loop

import (
	"errors"
	"time"
)

// Core is the protocol of one connection. All calls come from the worker that
// owns the connection; none may block.
type Core interface {
	// Receive consumes or copies all of p. An error closes the connection once
	// its output is flushed.
	Receive(p []byte) error
	// End tells of the peer's end of stream, once. nil keeps the other
	// direction open; an error is as one of Receive.
	End() error
	// Drained tells that Unsent had been above the worker's HighWater, and that the socket
	// has taken all of it now.
	Drained()
	// Closed is the last call, made exactly once. err is nil after an orderly
	// close, ECONNRESET when the peer has reset the connection, else why.
	Closed(err error)
}

// Transport stands between a socket and a Core, and turns what the one has into
// what the other wants. It does no I/O.
type Transport interface {
	// Open consumes all of p, which came from the socket, and calls sink with
	// the plaintext. It may make output Pending. io.EOF means that the peer has
	// ended its direction in order; any other error closes the connection once
	// its output is flushed. Open(nil) delivers what a handshake left behind.
	Open(p []byte, sink func(plain []byte) error) error
	// Seal appends records for plain, and whatever output is pending, to dst.
	Seal(dst, plain []byte) ([]byte, error)
	// Pending tells that Open left output to be sealed: by Seal with a nil plain.
	Pending() bool
	// Close appends the end of our direction.
	Close(dst []byte) []byte
	// End says what the peer's end of stream means here: an error when it came in
	// the middle of something.
	End() error
}

const (
	// ReadSize is the most that Receive gets at once on a plaintext connection:
	// that much means that there is probably more.
	ReadSize = 256 << 10
	// BufferSize is the least capacity of a pooled buffer.
	BufferSize = 32 << 10
)

const (
	// postLimit bounds the functions that wait to run on a worker.
	postLimit = 1024
	// postBatch bounds those that run in one turn, so that sockets get theirs.
	postBatch = 64
	// yieldAfter is how long a worker that never parks keeps other goroutines
	// from its processor; the scheduler itself would let them wait 10 ms.
	yieldAfter = 500 * time.Microsecond
)

// The errors that Core.Closed and a Worker's methods give, beside those of
// sockets.
var (
	// ErrAborted is given to the core of a connection that Abort has ended.
	ErrAborted = errors.New("connection aborted")
	// ErrStopped means that the worker has stopped.
	ErrStopped = errors.New("worker has stopped")
	// ErrCloseTimeout means that the peer did not take the rest of the output
	// in time after Close.
	ErrCloseTimeout = errors.New("close connection: peer does not read")
)

// Driver is how a Worker learns of ready sockets.
type Driver uint8

// The drivers.
const (
	// Auto is Epoll on Linux, else Goroutines.
	Auto Driver = iota
	// Epoll is one goroutine on an epoll descriptor of its own, which is nested
	// in Go's: a blocking epoll_wait would cost a wake-up of the runtime's
	// monitor each time.
	Epoll
	// Goroutines is a goroutine for each connection, and a lock for the worker.
	Goroutines
)

// Options of a Worker.
type Options struct {
	Driver Driver
	// CloseTimeout bounds Close: the time for a peer to take what is unsent, and
	// to close its side. 0 is 5 seconds.
	CloseTimeout time.Duration
	// HighWater is how many bytes of Unsent mean that a peer has no room, until
	// Drained. 0 is 256 KiB.
	HighWater int
}

// Defaults of Options.
const (
	DefaultCloseTimeout = 5 * time.Second
	DefaultHighWater    = 256 << 10
)
