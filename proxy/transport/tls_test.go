// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"crypto/tls"
	"errors"
	"io"
	"strings"
	"testing"
)

// Post-handshake messages (RFC 8446, section 4.6.3).
var (
	keyUpdate          = []byte{24, 0, 0, 1, 0}
	keyUpdateRequested = []byte{24, 0, 0, 1, 1}
)

// Alerts (RFC 8446, section 6).
var (
	closeNotify  = []byte{1, 0}
	userCanceled = []byte{1, 90}
	internal     = []byte{2, 80}
)

const (
	unexpectedMessage = 10
	badRecordMAC      = 20
	recordOverflow    = 22
)

func TestBytesOneByOne(t *testing.T) {
	eachRole(t, func(e *edge) {
		for _, plain := range []string{"a", strings.Repeat("b", 1000), "c"} {
			record := e.send.record(nil, dataRecord, []byte(plain)...)
			last := len(record) - 1
			for i := range last {
				e.want(e.open(record[i:i+1]), "")
			}
			e.want(e.open(record[last:]), plain)
		}
	})
}

func TestManyRecordsAtOnce(t *testing.T) {
	eachRole(t, func(e *edge) {
		var p []byte
		var want strings.Builder
		for i := range 100 {
			s := strings.Repeat(string(rune('a'+i%26)), i*7+1)
			p = e.send.record(p, dataRecord, []byte(s)...)
			want.WriteString(s)
		}
		half := len(p) / 2 // inside a record
		e.want(errors.Join(e.open(p[:half]), e.open(p[half:])), want.String())
		if len(e.tls.wire.in) > 0 || e.tls.Pending() {
			t.Error("input or output is left")
		}
	})
}

func TestEmptyRecords(t *testing.T) {
	eachRole(t, func(e *edge) {
		for range 3 { // plaintext resets the count
			for range 16 {
				e.want(e.open(e.send.record(nil, dataRecord)), "")
			}
			e.want(e.open(e.send.record(nil, dataRecord, 'x')), "x")
		}
		var p []byte
		for range 17 {
			p = e.send.record(p, dataRecord)
		}
		if err := e.open(p); err == nil || !strings.Contains(err.Error(), "too many") {
			e.t.Fatalf("Open: %v", err)
		}
		e.wantAlert(unexpectedMessage)
	})
}

func TestUserCanceled(t *testing.T) {
	eachRole(t, func(e *edge) {
		p := e.send.record(nil, alertRecord, userCanceled...)
		p = e.send.record(p, handshakeRecord, keyUpdate...)
		e.send.update(e.t)
		e.want(e.open(e.send.record(p, dataRecord, []byte("goes on")...)), "goes on")
	})
}

// TestPlaintextBesideError: where crypto/tls has a second record in its buffer
// that looks like an alert, it reads on, and returns plaintext and an error at
// once. The wire does not let that happen, here it is made to.
func TestPlaintextBesideError(t *testing.T) {
	halfAlert := func(e *edge) []byte {
		e.tls.wire.frame = frame{body: 1 << 20} // knows of no boundary
		return append(e.send.record(nil, dataRecord, []byte("data")...), alertRecord, 3, 3)
	}
	t.Run("crypto/tls", func(t *testing.T) {
		eachRole(t, func(e *edge) {
			e.tls.wire.in = halfAlert(e)
			if n, err := e.tls.conn.Read(make([]byte, 100)); n != 4 || !errors.Is(err, errWouldBlock) {
				e.t.Errorf("Read: %d, %v (does it no longer look ahead?)", n, err)
			}
		})
	})
	t.Run("Open", func(t *testing.T) {
		eachRole(t, func(e *edge) { e.want(e.open(halfAlert(e)), "data") })
	})
	t.Run("bounded", func(t *testing.T) {
		eachRole(t, func(e *edge) {
			p := e.send.record(nil, dataRecord, []byte("data")...)
			e.want(e.open(append(p, alertRecord, 3, 3)), "data")
			if e.tls.wire.frame.have != 3 {
				e.t.Error("the half alert is not at the wire")
			}
		})
	})
	t.Run("close_notify of TLS 1.2", func(t *testing.T) {
		e := newEdge(t, newWorld(t), true, tls.VersionTLS12)
		e.tls.wire.frame = frame{body: 1 << 20}
		p := e.send.record(nil, dataRecord, []byte("data")...)
		if err := e.open(e.send.record(p, alertRecord, closeNotify...)); err != io.EOF || string(e.got) != "data" { //nolint:errorlint // returned as it is
			t.Errorf("Open gave %q, %v", e.got, err)
		}
	})
}

// TestBadRecord checks that what was changed under way is refused and answered.
func TestBadRecord(t *testing.T) {
	tests := map[string]struct {
		change func(e *edge) []byte
		alert  byte
	}{
		"body": {func(e *edge) []byte {
			p := e.send.record(nil, dataRecord, []byte("data")...)
			p[8] ^= 1
			return p
		}, badRecordMAC},
		"replay": {func(e *edge) []byte {
			p := e.send.record(nil, dataRecord, []byte("data")...)
			return append(p, p...)
		}, badRecordMAC},
		"too long": {func(*edge) []byte { return []byte{dataRecord, 3, 3, 0x41, 1} }, recordOverflow},
		"renegotiation": {func(e *edge) []byte {
			return e.send.record(nil, handshakeRecord, 1, 0, 0, 0) // a ClientHello
		}, 50}, // decode_error
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			eachRole(t, func(e *edge) {
				err := e.open(test.change(e))
				if err == nil || errors.Is(err, io.EOF) {
					e.t.Fatalf("Open: %v", err)
				}
				if again := e.open([]byte{1}); again != err { //nolint:errorlint // the same one
					e.t.Errorf("Open again: %v, want %v", again, err)
				}
				if end := e.tls.End(); end != err { //nolint:errorlint // the same one
					e.t.Errorf("End: %v, want %v", end, err)
				}
				e.wantAlert(test.alert)
				if out, err := e.tls.Seal([]byte("kept"), []byte("data")); err != nil || string(out) != "kept" {
					e.t.Errorf("Seal after an alert gives %q, %v", out, err)
				}
				if out := e.tls.Close(nil); len(out) > 0 {
					e.t.Errorf("Close after an alert sends %d bytes", len(out))
				}
			})
		})
	}
}

func TestWorn(t *testing.T) {
	eachRole(t, func(e *edge) {
		if e.tls.Worn() {
			e.t.Error("worn from the start")
		}
		before := e.tls.wire
		e.want(e.open(e.send.record(nil, dataRecord, 'x')), "x")
		if _, err := e.tls.Seal(nil, make([]byte, 20_000)); err != nil {
			e.t.Fatal(err)
		}
		if in, out := e.tls.wire.received-before.received, e.tls.wire.sent-before.sent; in != 1 || out != 2 {
			e.t.Errorf("%d records counted as received, %d as sent; want 1 and 2", in, out)
		}
		e.tls.wire.sent = usageLimit + 1
		if !e.tls.Worn() {
			e.t.Error("never worn")
		}
	})
}
