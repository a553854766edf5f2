// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"net"
	"strings"
	"sync"
	"testing"
)

// Record and handshake types (RFC 8446, B.1 and B.3).
const (
	alertRecord     = 21
	handshakeRecord = 22
	dataRecord      = 23
)

// half is one direction of a record layer made by hand: it sends what crypto/tls
// never would. TLS 1.3 with AES-128-GCM and SHA-256, and TLS 1.2 likewise.
type half struct {
	aead   cipher.AEAD
	iv     [12]byte
	seq    uint64
	secret []byte // of TLS 1.3; nil in TLS 1.2
}

func newHalf13(t testing.TB, secret []byte) *half {
	t.Helper()
	h := &half{secret: secret}
	h.key(t, expand(t, secret, "key", 16))
	copy(h.iv[:], expand(t, secret, "iv", 12))
	return h
}

// newHalf12 begins behind Finished, which was record 0.
func newHalf12(t testing.TB, key, iv []byte) *half {
	t.Helper()
	h := &half{seq: 1}
	h.key(t, key)
	copy(h.iv[:], iv)
	return h
}

func (h *half) key(t testing.TB, key []byte) {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	if h.aead, err = cipher.NewGCM(block); err != nil {
		t.Fatal(err)
	}
}

func expand(t testing.TB, secret []byte, label string, n int) []byte {
	t.Helper()
	label = "tls13 " + label
	info := append([]byte{0, byte(n), byte(len(label))}, label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// record appends a record of that type.
func (h *half) record(dst []byte, kind byte, plain ...byte) []byte {
	nonce := h.iv
	var explicit, header, extra []byte
	if h.secret == nil {
		explicit = binary.BigEndian.AppendUint64(nil, h.seq)
		copy(nonce[4:], explicit)
		header = []byte{kind, 3, 3, 0, 0}
		extra = append(binary.BigEndian.AppendUint64(nil, h.seq), kind, 3, 3, byte(len(plain)>>8), byte(len(plain)))
	} else {
		for i := range 8 {
			nonce[4+i] ^= byte(h.seq >> (56 - 8*i))
		}
		plain = append(bytes.Clone(plain), kind)
		header = []byte{dataRecord, 3, 3, 0, 0}
	}
	h.seq++
	binary.BigEndian.PutUint16(header[3:], uint16(len(explicit)+len(plain)+16))
	if extra == nil {
		extra = header
	}
	dst = append(append(dst, header...), explicit...)
	return h.aead.Seal(dst, nonce[:], plain, extra)
}

// open takes the first record of TLS 1.3 off p.
func (h *half) open(t testing.TB, p []byte) (kind byte, plain, rest []byte) {
	t.Helper()
	if len(p) < headerSize || len(p) < headerSize+length(p) {
		t.Fatalf("no whole record in %d bytes", len(p))
	}
	nonce := h.iv
	for i := range 8 {
		nonce[4+i] ^= byte(h.seq >> (56 - 8*i))
	}
	h.seq++
	end := headerSize + length(p)
	plain, err := h.aead.Open(nil, nonce[:], p[headerSize:end], p[:headerSize])
	if err != nil {
		t.Fatalf("open record %d: %v", h.seq-1, err)
	}
	plain = bytes.TrimRight(plain, "\x00")
	return plain[len(plain)-1], plain[:len(plain)-1], p[end:]
}

// update goes over to the next key.
func (h *half) update(t testing.TB) {
	t.Helper()
	*h = *newHalf13(t, expand(t, h.secret, "traffic upd", 32))
}

// keyLog gets secrets (NSS key log format).
type keyLog struct {
	mu      sync.Mutex
	secrets map[string][]byte
}

func (k *keyLog) Write(line []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.secrets == nil {
		k.secrets = map[string][]byte{}
	}
	f := strings.Fields(string(line))
	secret, err := hex.DecodeString(f[2])
	k.secrets[f[0]] = secret
	return len(line), err
}

// tap is a connection that remembers what was read and written.
type tap struct {
	net.Conn
	read, written bytes.Buffer
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Write(p[:n])
	return n, err
}

func (c *tap) Write(p []byte) (int, error) {
	c.written.Write(p)
	return c.Conn.Write(p)
}

// edge is a TLS whose peer is made by hand.
type edge struct {
	t    testing.TB
	tls  *TLS
	send *half // makes what tls gets
	recv *half // reads what tls sends; TLS 1.3 only
	got  []byte
}

// newEdge lets crypto/tls do the peer's handshake, and takes its keys.
func newEdge(t testing.TB, w *world, server bool, version uint16) *edge {
	t.Helper()
	log := &keyLog{}
	h := newHandshaker(t, Options{Server: w.serverConfig(t, ServerOptions{})})
	ours, theirs := sockets(t)
	wire := &tap{Conn: theirs}
	results := make(chan Result, 1)
	var peer *tls.Conn
	config := w.client.Client(ClientOptions{ServerName: serverName})
	if server {
		h.Server(ours, nil, func(r Result) { results <- r })
	} else {
		h.Client(ours, config, func(r Result) { results <- r })
		served, err := w.serverConfig(t, ServerOptions{}).GetConfigForClient(nil)
		if err != nil {
			t.Fatal(err)
		}
		config = served.Clone()
	}
	config.KeyLogWriter, config.MaxVersion = log, version
	config.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256} // of TLS 1.2
	if server {
		peer = tls.Client(wire, config)
	} else {
		peer = tls.Server(wire, config)
	}
	if err := peer.Handshake(); err != nil {
		t.Fatal(err)
	}
	r := (<-results).must(t)
	if got := peer.ConnectionState().CipherSuite; version == tls.VersionTLS13 && got != tls.TLS_AES_128_GCM_SHA256 {
		t.Fatalf("cipher suite is %s; the record layer of the tests knows another", tls.CipherSuiteName(got))
	}
	e := &edge{t: t, tls: r.Transport}
	e.keys(log, wire, server, version)
	return e
}

func (e *edge) keys(log *keyLog, wire *tap, server bool, version uint16) {
	e.t.Helper()
	if version == tls.VersionTLS13 {
		e.send, e.recv = newHalf13(e.t, log.secrets["CLIENT_TRAFFIC_SECRET_0"]), newHalf13(e.t, log.secrets["SERVER_TRAFFIC_SECRET_0"])
		if !server {
			e.send, e.recv = e.recv, e.send
		}
		return
	}
	// The hellos are the first records each way: 5 bytes of header, 4 of the
	// message's, 2 of version, then 32 of random (RFC 5246, 6.3 and 7.4.1).
	random := func(b []byte) []byte { return b[11:43] }
	clientHello, serverHello := wire.written.Bytes(), wire.read.Bytes()
	if !server {
		clientHello, serverHello = serverHello, clientHello
	}
	seed := append([]byte("key expansion"), random(serverHello)...)
	block := prf(log.secrets["CLIENT_RANDOM"], append(seed, random(clientHello)...), 40)
	if server {
		e.send = newHalf12(e.t, block[:16], block[32:36])
	} else {
		e.send = newHalf12(e.t, block[16:32], block[36:40])
	}
}

// prf is P_SHA256 (RFC 5246, section 5).
func prf(secret, seed []byte, n int) []byte {
	sum := func(p ...[]byte) []byte {
		m := hmac.New(sha256.New, secret)
		for _, b := range p {
			m.Write(b)
		}
		return m.Sum(nil)
	}
	var out []byte
	for a := sum(seed); len(out) < n; a = sum(a) {
		out = append(out, sum(a, seed)...)
	}
	return out[:n]
}

// open feeds p, and collects the plaintext.
func (e *edge) open(p []byte) error {
	return e.tls.Open(p, func(plain []byte) error {
		e.got = append(e.got, plain...)
		return nil
	})
}

// want checks what came since the last call, and that the connection is fine.
func (e *edge) want(err error, plain string) {
	e.t.Helper()
	if err != nil || string(e.got) != plain {
		e.t.Fatalf("Open gave %q, %v; want %q", e.got, err, plain)
	}
	e.got = nil
}

// pending takes what waits to be sent.
func (e *edge) pending() []byte {
	e.t.Helper()
	pending := e.tls.Pending()
	out, err := e.tls.Seal(nil, nil)
	if err != nil || pending != (len(out) > 0) || e.tls.Pending() {
		e.t.Fatalf("Pending is %v, then Seal gives %d bytes, %v, and Pending is %v", pending, len(out), err, e.tls.Pending())
	}
	return out
}

// wantAlert checks that exactly this alert waits to be sent.
func (e *edge) wantAlert(description byte) {
	e.t.Helper()
	kind, plain, rest := e.recv.open(e.t, e.pending())
	if kind != alertRecord || len(plain) != 2 || plain[1] != description || len(rest) > 0 {
		e.t.Errorf("pending is a record of type %d: %v, and %d bytes more; want alert %d", kind, plain, len(rest), description)
	}
}

// eachRole runs f with a TLS 1.3 server and with a client.
func eachRole(t *testing.T, f func(e *edge)) {
	w := newWorld(t)
	for name, server := range map[string]bool{"server": true, "client": false} {
		t.Run(name, func(t *testing.T) { f(newEdge(t, w, server, tls.VersionTLS13)) })
	}
}
