// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"io"
	"net"
	"time"
)

// wouldBlock is what the wire returns where a socket would block. crypto/tls
// keeps every other read error for good, and returns one that is Temporary as it
// is, with what it has read so far left in place (conn.go, readRecordOrCCS).
type wouldBlock struct{}

func (wouldBlock) Error() string   { return "no input" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

var errWouldBlock error = wouldBlock{}

// wire is the net.Conn below crypto/tls. With an attempt it blocks on that one's
// socket; without, it is memory: in and out.
//
// A Read never goes beyond the record that it began in. So what follows the
// handshake stays in the socket, and in the loop a Read of crypto/tls that
// returns with in empty is known to be the last.
type wire struct {
	attempt *attempt // while there is a handshake
	in      []byte
	out     []byte
	frame   frame
	eof     bool // the peer's FIN follows what is in in
	mute    bool // close_notify or a fatal alert was sent: nothing may follow

	received, sent uint64 // records
}

// Read never returns 0 and no error: bytes.Buffer, which crypto/tls reads with,
// would try again for ever.
func (w *wire) Read(p []byte) (int, error) {
	if w.attempt != nil {
		return w.readSocket(p)
	}
	if len(w.in) == 0 {
		if w.eof {
			return 0, io.EOF
		}
		return 0, errWouldBlock
	}
	n := copy(p, w.in[:w.frame.bound(w.in)])
	w.received += w.frame.advance(w.in[:n])
	w.in = w.in[n:]
	return n, nil
}

func (w *wire) readSocket(p []byte) (int, error) {
	out := w.out
	w.out = w.out[:0]
	n, err := w.attempt.exchange(out, p[:min(len(p), w.frame.rest())])
	w.frame.advance(p[:n])
	return n, err
}

// Write takes everything and never fails: crypto/tls would keep even a temporary
// error for good (conn.go, Write). During a handshake what is written goes out
// before the next Read.
func (w *wire) Write(p []byte) (int, error) {
	if !w.mute {
		w.out = append(w.out, p...)
		w.sent++
	}
	return len(p), nil
}

// Close does nothing: the socket belongs to others.
func (w *wire) Close() error { return nil }

// LocalAddr is nil.
func (w *wire) LocalAddr() net.Addr { return nil }

// RemoteAddr is that of the socket during a handshake, for error messages and
// the hooks of a tls.Config, and nil then.
func (w *wire) RemoteAddr() net.Addr {
	if w.attempt != nil {
		return w.attempt.conn.RemoteAddr()
	}
	return nil
}

// SetDeadline does nothing. The others do the same.
func (w *wire) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (w *wire) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing. crypto/tls calls it around close_notify.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// headerSize is that of type, version and length (RFC 8446, section 5.1).
const headerSize = 5

// frame follows the boundaries of records through a stream.
type frame struct {
	header [headerSize]byte
	have   int // bytes of header seen
	body   int // bytes of the record still to come, once the header is complete
}

// rest is how many bytes certainly belong to the record: those up to the end of
// its header, or to its own. It is never 0.
func (f *frame) rest() int {
	if f.body > 0 {
		return f.body
	}
	return headerSize - f.have
}

// bound is how many of the first bytes of p belong to the record. It is at least
// 1 when p is not empty, and the whole record where p begins with one: then one
// Read is enough.
func (f *frame) bound(p []byte) int {
	n := f.rest()
	if n == headerSize && f.body == 0 && len(p) >= headerSize {
		n += length(p)
	}
	return min(n, len(p))
}

// advance goes on by p, and returns how many records ended there.
func (f *frame) advance(p []byte) (records uint64) {
	for len(p) > 0 {
		n := min(f.rest(), len(p))
		if f.body > 0 {
			f.body -= n
		} else {
			copy(f.header[f.have:], p[:n])
			f.have += n
			if f.have < headerSize {
				return records
			}
			f.body, f.have = length(f.header[:]), 0
		}
		if f.body == 0 {
			records++
		}
		p = p[n:]
	}
	return records
}

func length(header []byte) int { return int(header[3])<<8 | int(header[4]) }
