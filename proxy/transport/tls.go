// SPDX-License-Identifier: Apache-2.0

// Package transport turns the bytes of a socket into plaintext and back: TLS
// 1.2 and 1.3 by crypto/tls as it is, run inside an event loop. A handshake has
// a goroutine of its own for as long as it takes, and is the only part that
// touches a socket; files are read by Certificates alone. What a handshake
// leaves is a TLS, which does no I/O, starts nothing and belongs to the worker
// that owns the connection.
package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Scratch is where Open puts plaintext. It holds the largest record (RFC 8446,
// section 5.1), so that one Read of crypto/tls leaves nothing behind. All
// connections of a worker share one.
type Scratch [16 << 10]byte

// sealOverhead is the most that a record adds to what it carries: header, nonce
// or IV, padding and MAC of the suites of TLS 1.2 and 1.3.
const sealOverhead = 5 + 16 + 16 + 48

// usageLimit is how many full records AES-GCM may protect under one key: 2^24.5
// (RFC 8446, section 5.5), here with a margin. crypto/tls can't ask for a key
// update.
const usageLimit = 1 << 24

// maxPending bounds the answers to key updates that nobody takes, since the peer
// does not read: some 2400. Other data between them escapes the limit that
// crypto/tls has.
const maxPending = 64 << 10

// errSealed is what Seal returns once Close has been called.
var errSealed = errors.New("seal TLS record: close_notify has been sent")

// TLS is one TLS connection after its handshake. It costs 9 KiB of memory;
// crypto/tls keeps a buffer as large as the largest record ever received beside
// (golang/go#43563): 18 KiB where that was a full one.
type TLS struct {
	conn    *tls.Conn
	wire    wire
	scratch *Scratch
	readErr error // sticky: why nothing more is read
	ended   bool  // in order: by close_notify, or a FIN between two records
	broken  bool  // by TLS, not by the sink: nothing can be sent any more
	closed  bool
}

// Share makes t put plaintext into the worker's Scratch. Otherwise the first
// Open allocates one for t alone.
func (t *TLS) Share(s *Scratch) { t.scratch = s }

// Open takes the bytes p that came from the socket and calls sink with the
// plaintext of every record that they complete. The plaintext is valid during
// the call. All of p is consumed, the beginning of a record is kept.
//
// io.EOF means that close_notify has come: nothing follows, as after a FIN, and
// bytes behind it are ignored (RFC 8446, section 6.1). Any other error is final
// too; the alert that tells the peer about it is then Pending. An error of sink
// is returned as it is.
func (t *TLS) Open(p []byte, sink func(plain []byte) error) error {
	if t.readErr != nil {
		return t.readErr
	}
	if len(p) == 0 {
		return nil
	}
	t.wire.in = p
	t.readErr = t.read(sink)
	t.wire.in = nil
	if t.readErr == nil && len(t.wire.out) > maxPending {
		t.broken = true
		t.readErr = fmt.Errorf("open TLS record: more than %d bytes of answers to key updates wait for the peer to read", maxPending)
	}
	return t.readErr
}

// read drives crypto/tls until it has taken all input. The wire ends each of its
// reads with the record, so that crypto/tls never has a second one in its
// buffers: no input left means nothing to read, and nothing need be tried.
func (t *TLS) read(sink func(plain []byte) error) error {
	if t.scratch == nil {
		t.scratch = new(Scratch)
	}
	for {
		n, err := t.conn.Read(t.scratch[:])
		if n > 0 { // even beside an error: crypto/tls may look ahead for close_notify
			if err := sink(t.scratch[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, errWouldBlock):
			return nil
		case errors.Is(err, io.EOF):
			t.ended = true
			return io.EOF
		case err != nil:
			t.broken = true
			return fmt.Errorf("open TLS record: %w", err)
		case len(t.wire.in) == 0:
			return nil
		}
	}
}

// End tells what a FIN of the peer means. nil: it came after close_notify, or
// between two records, which many peers do that are done; only CloseNotified
// proves that nobody cut the stream. io.ErrUnexpectedEOF: it came inside a
// record. After an error of Open it is that error.
func (t *TLS) End() error {
	if t.readErr == nil {
		t.wire.eof = true
		t.readErr = t.read(func([]byte) error { return nil })
	}
	switch {
	case t.ended:
		return nil
	case errors.Is(t.readErr, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	}
	return t.readErr
}

// CloseNotified tells whether the peer has said that its stream is complete. A
// message that ends with the connection is incomplete without (RFC 9112,
// section 9.8).
func (t *TLS) CloseNotified() bool { return t.ended && !t.wire.eof }

// Pending tells whether Open left something to be sent: the answer to a key
// update, or an alert. Seal with no plaintext takes it.
func (t *TLS) Pending() bool { return len(t.wire.out) > 0 }

// Seal appends to dst what is pending, and then records with plain. It copies
// plain, but drops it when Open has failed over TLS: after a fatal alert nothing
// can be sent (RFC 8446, section 6.2). An error is final.
func (t *TLS) Seal(dst, plain []byte) ([]byte, error) {
	dst = t.takePending(dst)
	switch {
	case len(plain) == 0 || t.broken:
		return dst, nil
	case t.closed:
		return dst, errSealed
	}
	records := (len(plain)-1)/len(Scratch{}) + 1
	t.wire.out = slices.Grow(dst, len(plain)+records*sealOverhead)
	_, err := t.conn.Write(plain)
	dst, t.wire.out = t.wire.out, nil
	if err != nil {
		return dst, fmt.Errorf("seal TLS record: %w", err)
	}
	return dst, nil
}

// Close appends to dst what is pending, and then close_notify, unless a fatal
// alert or a close_notify has gone before. The peer may go on sending: Open
// works as before, but what it would have to answer is dropped.
func (t *TLS) Close(dst []byte) []byte {
	dst = t.takePending(dst)
	if t.closed {
		return dst
	}
	t.closed, t.wire.mute = true, t.broken
	t.wire.out = dst
	// The only error is one of the wire, which has none.
	_ = t.conn.CloseWrite()
	dst, t.wire.out = t.wire.out, nil
	t.wire.mute = true
	return dst
}

// Worn tells that so much went through the connection that it should be replaced
// by a new one, some 270 GB in full records.
func (t *TLS) Worn() bool { return max(t.wire.received, t.wire.sent) > usageLimit }

func (t *TLS) takePending(dst []byte) []byte {
	if len(t.wire.out) > 0 {
		dst = append(dst, t.wire.out...)
		t.wire.out = nil
	}
	return dst
}
