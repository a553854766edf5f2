// SPDX-License-Identifier: Apache-2.0

package services

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shuntmesh/shunt/internal/xdsapi"
)

// One stream is all that is asked for, so it is spoken as gRPC's HTTP/2 protocol
// has it (PROTOCOL-HTTP2.md of github.com/grpc/grpc) over net/http, which the
// agent needs for the API server anyhow. google.golang.org/grpc would cost each
// node 5 MiB of memory.

const (
	// A control plane's node that died says nothing; these notice it within 20 s.
	pingEvery   = 10 * time.Second
	pingTimeout = 10 * time.Second
	dialTimeout = 5 * time.Second
	// maxMessage bounds a response; discovery keeps them below 32 KiB, but for a
	// port with more than a thousand endpoints.
	maxMessage = 1 << 20
	maxHeader  = 16 << 10
	// prefixLength is that of a message's: whether it is compressed, and its length.
	prefixLength = 5
)

// call is one call of a method that streams in both directions.
type call struct {
	transport *http.Transport
	answer    *http.Response
	requests  *io.PipeWriter
	forget    func() bool // the end of the context
}

// body is what is sent: a first message, and what the pipe brings.
type body struct {
	io.Reader
	io.Closer
}

// open calls discovery with a first message, and returns once it answers.
func (f *Feed) open(ctx context.Context, token string, config *tls.Config, first proto.Message) (*call, error) {
	frame, err := encodeFrame(first)
	if err != nil {
		return nil, err
	}
	c := &call{transport: newTransport(config)}
	incoming, outgoing := io.Pipe()
	c.requests = outgoing
	address := url.URL{Scheme: "https", Host: f.options.Address, Path: xdsapi.DeltaMethod}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address.String(), body{io.MultiReader(bytes.NewReader(frame), incoming), incoming})
	if err != nil {
		return nil, fmt.Errorf("prepare call: %w", err)
	}
	r.Header = http.Header{
		"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "Authorization": {"Bearer " + token},
	}
	// net/http looks at the context when it has read the body, and not before.
	c.forget = context.AfterFunc(ctx, func() { _ = incoming.CloseWithError(context.Cause(ctx)) })
	if c.answer, err = c.transport.RoundTrip(r); err != nil { //nolint:bodyclose // close does
		c.forget()
		c.transport.CloseIdleConnections()
		return nil, fmt.Errorf("call discovery: %w", err)
	}
	return c, nil
}

// newTransport is for one connection: the address is a Service's, and another
// replica may answer the next. The proxy of the environment is not asked.
func newTransport(config *tls.Config) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    dialTimeout,
		Protocols:              protocols,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingEvery, PingTimeout: pingTimeout},
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// close ends the call and its connection.
func (c *call) close() {
	c.forget()
	_ = c.requests.Close()
	_ = c.answer.Body.Close()
	c.transport.CloseIdleConnections()
}

// send sends a message. Why it can't, receive tells.
func (c *call) send(m proto.Message) error {
	frame, err := encodeFrame(m)
	if err == nil {
		_, err = c.requests.Write(frame)
	}
	return err
}

// receive reads the next message. The end of the call is an error too, with
// discovery's words.
func (c *call) receive(m proto.Message) error {
	if c.answer.StatusCode != http.StatusOK {
		return fmt.Errorf("answered with HTTP status %s", c.answer.Status)
	}
	frame, err := readFrame(c.answer.Body)
	if errors.Is(err, io.EOF) {
		return c.status()
	}
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(frame, m); err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	return nil
}

// status is how the call has ended: in the trailers, or in the headers of an
// answer without messages.
func (c *call) status() error {
	said := c.answer.Trailer
	if said.Get("Grpc-Status") == "" {
		said = c.answer.Header
	}
	words, err := url.PathUnescape(said.Get("Grpc-Message"))
	if err != nil {
		words = said.Get("Grpc-Message")
	}
	return fmt.Errorf("discovery has ended the stream: status %q: %s", said.Get("Grpc-Status"), words)
}

func encodeFrame(m proto.Message) ([]byte, error) {
	frame, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, prefixLength), m)
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	binary.BigEndian.PutUint32(frame[1:], uint32(len(frame)-prefixLength))
	return frame, nil
}

// readFrame reads one message; io.EOF is the end where one could begin.
func readFrame(r io.Reader) ([]byte, error) {
	var prefix [prefixLength]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(prefix[1:])
	switch {
	case prefix[0] != 0:
		return nil, errors.New("receive message: it is compressed, which was not offered")
	case length > maxMessage:
		return nil, fmt.Errorf("receive message: it has %d bytes (at most %d are taken)", length, maxMessage)
	}
	message := make([]byte, length)
	if _, err := io.ReadFull(r, message); err != nil {
		return nil, fmt.Errorf("receive message: %w", noEOF(err))
	}
	return message, nil
}

// noEOF is for an end within a message, which is none of the call's.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
