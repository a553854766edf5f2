// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"strings"
	"testing"
)

func TestKeyUpdate(t *testing.T) {
	eachRole(t, func(e *edge) {
		p := e.send.record(nil, handshakeRecord, keyUpdate...)
		e.send.update(e.t)
		e.want(e.open(e.send.record(p, dataRecord, []byte("new key")...)), "new key")
		if e.tls.Pending() {
			e.t.Error("something is pending after an update that asks for none")
		}
	})
}

// TestKeyUpdateInTwoRecords lets the wire block in the middle of the message.
func TestKeyUpdateInTwoRecords(t *testing.T) {
	eachRole(t, func(e *edge) {
		e.want(e.open(e.send.record(nil, handshakeRecord, keyUpdateRequested[:3]...)), "")
		if e.tls.Pending() {
			e.t.Error("half a key update has been answered")
		}
		e.want(e.open(e.send.record(nil, handshakeRecord, keyUpdateRequested[3:]...)), "")
		e.send.update(e.t)
		e.wantKeyUpdate()
		e.want(e.open(e.send.record(nil, dataRecord, []byte("new key")...)), "new key")
	})
}

// TestKeyUpdateRequested checks the answer, and that what is sealed with it
// comes behind it, under the new key.
func TestKeyUpdateRequested(t *testing.T) {
	eachRole(t, func(e *edge) {
		for range 3 {
			p := e.send.record(nil, handshakeRecord, keyUpdateRequested...)
			e.send.update(e.t)
			e.want(e.open(e.send.record(p, dataRecord, []byte("ping")...)), "ping")
			if !e.tls.Pending() {
				e.t.Fatal("nothing is pending")
			}
			out, err := e.tls.Seal([]byte("before"), []byte("pong"))
			if err != nil || !bytes.HasPrefix(out, []byte("before")) {
				e.t.Fatalf("Seal: %v", err)
			}
			kind, plain, rest := e.recv.open(e.t, out[len("before"):])
			if kind != handshakeRecord || !bytes.Equal(plain, keyUpdate) {
				e.t.Errorf("first record has type %d: %v; want a key update", kind, plain)
			}
			e.recv.update(e.t)
			if kind, plain, rest = e.recv.open(e.t, rest); kind != dataRecord || string(plain) != "pong" || len(rest) > 0 {
				e.t.Errorf("second record has type %d: %q", kind, plain)
			}
		}
	})
}

func (e *edge) wantKeyUpdate() {
	e.t.Helper()
	kind, plain, rest := e.recv.open(e.t, e.pending())
	if kind != handshakeRecord || !bytes.Equal(plain, keyUpdate) || len(rest) > 0 {
		e.t.Errorf("pending is a record of type %d: %v, and %d bytes; want a key update", kind, plain, len(rest))
	}
	e.recv.update(e.t)
}

// TestKeyUpdateFlood pins crypto/tls's limit of useless records, which bounds
// what a peer can make us compute and answer.
func TestKeyUpdateFlood(t *testing.T) {
	eachRole(t, func(e *edge) {
		var p []byte
		for range 17 {
			p = e.send.record(p, handshakeRecord, keyUpdateRequested...)
			e.send.update(e.t)
		}
		if err := e.open(p); err == nil || !strings.Contains(err.Error(), "too many") {
			e.t.Fatalf("Open: %v", err)
		}
		out := e.pending()
		for range 16 {
			kind, _, rest := e.recv.open(e.t, out)
			if kind != handshakeRecord {
				e.t.Fatalf("answer has type %d", kind)
			}
			e.recv.update(e.t)
			out = rest
		}
		if kind, plain, _ := e.recv.open(e.t, out); kind != alertRecord || plain[1] != unexpectedMessage {
			e.t.Errorf("last record has type %d: %v", kind, plain)
		}
	})
}

// TestKeyUpdatesThatNobodyReads: with a byte between them crypto/tls has no
// limit, and each makes as many bytes as it has.
func TestKeyUpdatesThatNobodyReads(t *testing.T) {
	eachRole(t, func(e *edge) {
		for i := range 10_000 {
			p := e.send.record(nil, handshakeRecord, keyUpdateRequested...)
			e.send.update(e.t)
			before := len(e.tls.wire.out)
			if err := e.open(e.send.record(p, dataRecord, 'x')); err != nil {
				if before < maxPending-100 || !strings.Contains(err.Error(), "wait for the peer to read") {
					e.t.Errorf("after %d updates, with %d bytes pending: %v", i, before, err)
				}
				return
			}
		}
		e.t.Error("10000 are answered")
	})
}

// TestKeyUpdatesThatAreRead go on for ever.
func TestKeyUpdatesThatAreRead(t *testing.T) {
	eachRole(t, func(e *edge) {
		for range 3000 {
			p := e.send.record(nil, handshakeRecord, keyUpdateRequested...)
			e.send.update(e.t)
			e.want(e.open(e.send.record(p, dataRecord, 'x')), "x")
			e.wantKeyUpdate()
		}
	})
}
