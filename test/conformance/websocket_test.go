// SPDX-License-Identifier: Apache-2.0

//go:build conformance

package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/coder/websocket"

	"github.com/shuntmesh/shunt/proxy/sidecartest"
	"github.com/shuntmesh/shunt/proxy/stats"
)

// maxMessage is the largest that is sent.
const maxMessage = 8 << 20

// echoMessages sends every message back, and closes with the code that a text
// "close CODE REASON" asks for.
func echoMessages(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: compression(r)})
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(maxMessage)
	for {
		kind, message, err := c.Read(r.Context())
		if err != nil {
			return // the client has closed; Read has answered that
		}
		var code websocket.StatusCode
		var reason string
		if n, _ := fmt.Sscanf(string(message[:min(len(message), 100)]), "close %d %s", &code, &reason); n == 2 {
			_ = c.Close(code, reason)
			return
		}
		if c.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}

func compression(r *http.Request) websocket.CompressionMode {
	if r.URL.Path == "/compressed" {
		return websocket.CompressionContextTakeover
	}
	return websocket.CompressionDisabled
}

// TestWebSocket echoes messages through two sidecars, and closes from either end.
func TestWebSocket(t *testing.T) {
	talk(t, "http1", http.HandlerFunc(echoMessages), http.DefaultClient)
}

// talk echoes and closes, with a client whose connections are to become
// WebSockets of the application.
func talk(t *testing.T, name string, application http.Handler, client *http.Client) {
	out, in := sidecartest.Chain(t, startHandler(t, application), nil, nil)
	echoed := 0
	for _, path := range []string{"/plain", "/compressed"} {
		t.Run("echo"+path, func(t *testing.T) { echoed += echo(t, client, out, path) })
	}
	for _, code := range []websocket.StatusCode{websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusInternalError, 3000, 4999} {
		t.Run(fmt.Sprintf("closed with %d", code), func(t *testing.T) { closeBoth(t, client, out, code) })
	}
	for p, d := range map[*sidecartest.Proxy]stats.Direction{out: stats.Outbound, in: stats.Inbound} {
		if got := tallyOf(t, p, d); len(got.errors) > 0 || got.relayed > 0 {
			t.Errorf("%s counted %+v, want no error, and nothing that it did not read", d, got)
		}
	}
	fmt.Printf("FIGURE conformance.websocket.%s.echoed %d messages\n", name, echoed)
}

func connect(ctx context.Context, t *testing.T, client *http.Client, p *sidecartest.Proxy, path string) *websocket.Conn {
	t.Helper()
	o := &websocket.DialOptions{HTTPClient: client, CompressionMode: websocket.CompressionDisabled}
	if path == "/compressed" {
		o.CompressionMode = websocket.CompressionContextTakeover
	}
	c, _, err := websocket.Dial(ctx, "ws://"+p.Outbound.String()+path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	c.SetReadLimit(maxMessage)
	return c
}

// echo sends messages of the sizes at which a frame's length is written another
// way, RFC 6455, 5.2, and big ones.
func echo(t *testing.T, client *http.Client, p *sidecartest.Proxy, path string) (echoed int) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := connect(ctx, t, client, p, path)
	random := rand.NewChaCha8([32]byte{2})
	for _, size := range []int{0, 1, 125, 126, 65_535, 65_536, 1_000_003, maxMessage} {
		binary := make([]byte, size)
		_, _ = random.Read(binary) // never fails
		for kind, message := range map[websocket.MessageType][]byte{
			websocket.MessageBinary: binary,
			websocket.MessageText:   bytes.Repeat([]byte("é"), size/2),
		} {
			sent := make(chan error, 1)
			go func() { sent <- c.Write(ctx, kind, message) }()
			gotKind, got, err := c.Read(ctx)
			if err := errors.Join(err, <-sent); err != nil || gotKind != kind || !bytes.Equal(got, message) {
				t.Fatalf("%v of %d bytes: %v of %d came back, %v", kind, len(message), gotKind, len(got), err)
			}
			echoed++
		}
	}
	return echoed
}

// closeBoth has the server close with a code, and then the client.
func closeBoth(t *testing.T, client *http.Client, p *sidecartest.Proxy, code websocket.StatusCode) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := connect(ctx, t, client, p, "/")
	if err := c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, "close %d because", code)); err != nil {
		t.Fatal(err)
	}
	_, _, err := c.Read(ctx)
	var closed websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != code || closed.Reason != "because" {
		t.Errorf("the server closed with %d, the client saw %v", code, err)
	}
	c = connect(ctx, t, client, p, "/")
	if err := c.Close(code, "enough"); err != nil { // it waits for the server's answer
		t.Errorf("the client closed with %d: %v", code, err)
	}
}
