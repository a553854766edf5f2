// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
)

func TestCloseNotify(t *testing.T) {
	eachRole(t, func(e *edge) {
		p := e.send.record(nil, dataRecord, []byte("last")...)
		p = e.send.record(p, alertRecord, closeNotify...)
		p = append(p, "what follows is ignored"...)
		if err := e.open(p); err != io.EOF || string(e.got) != "last" { //nolint:errorlint // returned as it is
			e.t.Fatalf("Open gave %q, %v", e.got, err)
		}
		if err := e.open([]byte("ignored")); err != io.EOF { //nolint:errorlint // as above
			e.t.Errorf("Open after close_notify: %v", err)
		}
		if err := e.tls.End(); err != nil || !e.tls.CloseNotified() {
			e.t.Errorf("End: %v, CloseNotified: %v", err, e.tls.CloseNotified())
		}
		// The other direction is still open.
		out, err := e.tls.Seal(nil, []byte("answer"))
		if err != nil {
			e.t.Fatal(err)
		}
		if kind, plain, _ := e.recv.open(e.t, out); kind != dataRecord || string(plain) != "answer" {
			e.t.Errorf("got type %d: %q", kind, plain)
		}
	})
}

func TestFIN(t *testing.T) {
	tests := map[string]struct {
		feed func(e *edge) []byte
		want error
	}{
		"after the handshake": {func(*edge) []byte { return nil }, nil},
		"between records":     {func(e *edge) []byte { return e.send.record(nil, dataRecord, 'x') }, nil},
		"inside a header":     {func(e *edge) []byte { return e.send.record(nil, dataRecord, 'x')[:3] }, io.ErrUnexpectedEOF},
		"after a header":      {func(e *edge) []byte { return e.send.record(nil, dataRecord, 'x')[:5] }, io.ErrUnexpectedEOF},
		"inside a body":       {func(e *edge) []byte { return e.send.record(nil, dataRecord, 'x')[:20] }, io.ErrUnexpectedEOF},
		"before the last byte": {func(e *edge) []byte {
			p := e.send.record(nil, dataRecord, 'x')
			return p[:len(p)-1]
		}, io.ErrUnexpectedEOF},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			eachRole(t, func(e *edge) {
				if err := e.open(test.feed(e)); err != nil {
					e.t.Fatal(err)
				}
				for range 2 {
					if err := e.tls.End(); err != test.want { //nolint:errorlint // returned as it is
						e.t.Errorf("End: %v, want %v", err, test.want)
					}
				}
				if e.tls.CloseNotified() {
					e.t.Error("a FIN counts as close_notify")
				}
			})
		})
	}
}

func TestAlertReceived(t *testing.T) {
	eachRole(t, func(e *edge) {
		err := e.open(e.send.record(nil, alertRecord, internal...))
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "remote error" {
			e.t.Errorf("Open: %v", err)
		}
		if out, err := e.tls.Seal(nil, []byte("data")); err != nil || len(out) > 0 {
			e.t.Errorf("Seal after an alert of the peer gives %d bytes, %v", len(out), err)
		}
		if out := e.tls.Close(nil); len(out) > 0 {
			e.t.Errorf("an alert is answered with %d bytes", len(out))
		}
	})
}

// TestSinkError: the core is at fault or at an end, TLS is not.
func TestSinkError(t *testing.T) {
	eachRole(t, func(e *edge) {
		wrong := errors.New("protocol error")
		p := e.send.record(nil, dataRecord, 'x')
		err := e.tls.Open(e.send.record(p, dataRecord, 'y'), func(plain []byte) error {
			e.got = append(e.got, plain...)
			return wrong
		})
		if err != wrong || string(e.got) != "x" { //nolint:errorlint // as above
			e.t.Fatalf("Open gave %q, %v", e.got, err)
		}
		if err := e.open([]byte{1}); err != wrong { //nolint:errorlint // as above
			e.t.Errorf("Open again: %v", err)
		}
		out, err := e.tls.Seal(nil, []byte("GOAWAY"))
		if err != nil {
			e.t.Fatal(err)
		}
		_, plain, rest := e.recv.open(e.t, e.tls.Close(out))
		kind, alert, _ := e.recv.open(e.t, rest)
		if string(plain) != "GOAWAY" || kind != alertRecord || !bytes.Equal(alert, closeNotify) {
			e.t.Errorf("sent %q, then type %d: %v", plain, kind, alert)
		}
	})
}

func TestClose(t *testing.T) {
	eachRole(t, func(e *edge) {
		e.want(e.open(e.send.record(nil, handshakeRecord, keyUpdateRequested...)), "")
		e.send.update(e.t)
		out := e.tls.Close([]byte("before"))
		kind, _, rest := e.recv.open(e.t, out[len("before"):])
		if kind != handshakeRecord {
			e.t.Fatalf("what was pending has type %d", kind)
		}
		e.recv.update(e.t)
		kind, alert, rest := e.recv.open(e.t, rest)
		if kind != alertRecord || !bytes.Equal(alert, closeNotify) || len(rest) > 0 {
			e.t.Errorf("Close appends type %d: %v", kind, alert)
		}
		if out := e.tls.Close(nil); len(out) > 0 {
			e.t.Errorf("Close again appends %d bytes", len(out))
		}
		if _, err := e.tls.Seal(nil, []byte("x")); !errors.Is(err, errSealed) {
			e.t.Errorf("Seal after Close: %v", err)
		}
		// Half-closed: the peer may go on, but gets no more answers.
		p := e.send.record(nil, handshakeRecord, keyUpdateRequested...)
		e.send.update(e.t)
		e.want(e.open(e.send.record(p, dataRecord, []byte("still")...)), "still")
		if e.tls.Pending() {
			e.t.Error("something is pending behind close_notify")
		}
	})
}
