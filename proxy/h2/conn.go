// SPDX-License-Identifier: Apache-2.0

// Package h2 is the HTTP/2 connection core (RFC 9113, RFC 8441) in both roles:
// bytes of a peer come in by Receive, heads and bodies go to the Handler of
// their stream, and what Streams send is appended to the output of the
// connection. It may touch message, hpack and its Wire, and nothing else: it
// knows no socket, no clock, no lock and no goroutine.
//
// Flow control: the window of the connection is given back when data arrives,
// that of a stream when its bytes are credited. What the peer has no room for
// waits in pooled buffers, the streams taking turns.
//
// A stream ends when both directions have ended, or by a reset; then it is
// forgotten, and its object serves another one. After that only Credit for
// what had been received is still allowed, and within the call from the loop
// during which it ended, anything: it has no effect. Two ends are early:
//
//   - On a server the end of the response ends the stream, whether the request
//     has ended or not (RFC 9113, section 8.1). While Unsent is above zero the
//     end is still to come, and OnDrained tells of it.
//   - On a client the end of the response does not. A server that does not want
//     the rest of the request says so by OnReset with NO_ERROR.
//
// Streams of a connection that broke get REFUSED_STREAM and Unprocessed when a
// server had not even sent its SETTINGS, else CONNECT_ERROR; on a server CANCEL.
package h2

import (
	"github.com/shuntmesh/shunt/proxy/hpack"
	"github.com/shuntmesh/shunt/proxy/message"
)

// Wire is what a Conn calls of the connection that carries it.
type Wire interface {
	// Output is the buffer that goes to the peer; bytes are appended to it.
	Output() *[]byte
	// Unsent is how many bytes of Output the socket has not taken.
	Unsent() int
	// HighWater is how many of them there may be before the peer counts as one
	// without room, until Drained.
	HighWater() int
	// Buffer is an empty pooled buffer of at least 32 KiB; Recycle takes it back.
	Buffer() []byte
	Recycle([]byte)
	// Close closes in order once Output is flushed, Abort at once. Neither
	// calls back.
	Close()
	Abort()
}

// Conn is one HTTP/2 connection. All its methods, and those of its streams,
// belong to the worker that owns the connection.
type Conn struct {
	w       Wire
	o       Options
	high    int                                  // the Wire's HighWater
	accept  func(message.Stream) message.Handler // nil on a client
	changed func()                               // nil on a server
	err     error                                // set once nothing more may be sent

	in  input
	dec *hpack.Decoder // made when the first header block arrives
	enc *hpack.Encoder

	received []receivedBlock
	sent     []sentBlock

	streams table
	queue   queue // streams which the connection, not their own window, holds up
	open    int   // streams, also those whose head was not sent yet

	peer    peerSettings
	sendWin int64 // what the peer allows us to send on all streams together
	recvWin int64 // what the peer may still send
	owed    int64 // what was received and not yet given back to it

	lastID uint32 // highest that the peer opened (server) or that we did (client)
	frames uint32 // received so far, modulo 2^32
	recent recent // streams that ended, on a server

	calm   int // frames without progress that are left; see spend
	resets int // streams that came to nothing; see annoyed

	leave leaveState

	full    bool // streams wait for the socket, until Drained
	busy    bool // within a call from the loop
	notify  bool // changed is due
	closing bool // Wire.Close was called
	settled bool // the peer's SETTINGS were read
	acked   bool // and ours by the peer
}

// NewServer returns the core of a connection that a client opened, and sends
// its SETTINGS. accept is called for each new request, whose OnHead follows at
// once; nil refuses it. The client's preface is expected from Receive.
func NewServer(w Wire, o Options, accept func(message.Stream) message.Handler) *Conn {
	c := newConn(w, o)
	c.accept = accept
	c.sendSettings()
	return c
}

// NewClient returns the core of a connection to a server, and sends the preface
// and its SETTINGS. changed (which may be nil) is called when Room is no longer
// zero, or when it has become so for good: at the end of a call from the loop,
// or, when a stream is reset or ended outside of one, from within that.
func NewClient(w Wire, o Options, changed func()) *Conn {
	c := newConn(w, o)
	c.changed = changed
	c.in.preface = len(preface)
	out := w.Output()
	*out = append(*out, preface...)
	c.sendSettings()
	return c
}

func newConn(w Wire, o Options) *Conn {
	o = o.withDefaults()
	peer := defaultPeerSettings()
	peer.maxStreams = uint32(o.PeerStreams)
	return &Conn{
		w: w, o: o, high: w.HighWater(),
		peer:    peer,
		sendWin: defaultWindow, recvWin: int64(o.ConnWindow),
		calm: o.MaxControl,
	}
}

func (c *Conn) server() bool { return c.accept != nil }

// Open returns a new stream on which SendHead must follow at once. It may only
// be called on a client, while Room is above zero.
func (c *Conn) Open(h message.Handler) message.Stream {
	s := c.newStream(h)
	c.open++
	return s
}

// Room is how many streams may be opened now: the peer's limit on concurrent
// streams (PeerStreams until its SETTINGS arrived) less those that are open; 0 once
// either side goes away. It is 0 on a server.
func (c *Conn) Room() int {
	if c.server() || c.err != nil || c.goingAway() {
		return 0
	}
	ids := (maxStreamID - int64(c.lastID)) / 2
	return int(max(0, min(int64(c.peer.maxStreams)-int64(c.open), ids)))
}

// Streams is how many streams are open.
func (c *Conn) Streams() int { return c.open }

// goingAway tells that the connection takes no new streams: GoAway was called,
// the peer said GOAWAY, or the connection failed.
func (c *Conn) goingAway() bool {
	return c.err != nil || c.closing || c.leave.started || c.leave.received
}

// Drained sends what waits, after the socket took all that it had refused.
func (c *Conn) Drained() {
	c.enter()
	c.full = false
	c.pump()
	c.exit()
}

// End takes the peer's FIN. HTTP/2 has no use for a half-open connection: an
// error tells that streams or a frame were cut off.
func (c *Conn) End() error {
	if c.err != nil || c.closing {
		return c.err
	}
	if c.open == 0 && c.in.empty() {
		c.close()
		return nil
	}
	c.enter()
	c.lose(errCutOff)
	c.exit()
	return errCutOff
}

// Closed ends all streams: err is why the connection was closed, or nil.
func (c *Conn) Closed(err error) {
	c.enter()
	if err == nil {
		err = errClosed
	}
	c.lose(err)
	c.in.release(c.w)
	c.exit()
}

// enter begins a call from the loop: streams that end are not used again, and
// changed is not called, before exit.
func (c *Conn) enter() {
	c.busy = true
	c.o.Pool.enter()
}

func (c *Conn) exit() {
	c.busy = false
	c.o.Pool.exit()
	if c.notify {
		c.notify = false
		c.changed()
	}
}

// roomChanged has changed called, now or at exit.
func (c *Conn) roomChanged() {
	switch {
	case c.changed == nil:
	case c.busy:
		c.notify = true
	default:
		c.changed()
	}
}

// close closes the connection in order; what the peer still sends is ignored.
func (c *Conn) close() {
	if c.closing {
		return
	}
	c.closing = true
	c.w.Close()
	c.roomChanged()
}
