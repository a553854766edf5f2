// SPDX-License-Identifier: Apache-2.0

package services

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/xdsapi"
)

const (
	// A pod's start waits for none of this, so the pauses are longer than a
	// sidecar's: nodes come back after sidecars.
	minPause = 500 * time.Millisecond
	maxPause = 15 * time.Second
	// steady is how long a stream must live for the next attempt to be an early
	// one: discovery may let us in and then refuse what we ask for.
	steady = 5 * time.Second
	// A control plane's node that died says nothing; these notice it within 20 s.
	pingEvery   = 10 * time.Second
	pingTimeout = 10 * time.Second
	dialTimeout = 5 * time.Second
	bufferSize  = 4 << 10 // grpc's default is 32 KiB, twice
	// maxMessage bounds a response; discovery keeps them below 32 KiB, but for a
	// port with more than a thousand endpoints.
	maxMessage = 1 << 20
	maxToken   = 16 << 10
	maxDetail  = 1 << 10 // of what we refuse, in words
)

// listen keeps a stream until ctx ends.
func (f *Feed) listen(ctx context.Context) {
	pause, lastErr := minPause, ""
	for ctx.Err() == nil {
		begin := time.Now()
		err := f.session(ctx)
		f.options.Metrics.connected.Set(0)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begin) > steady {
			pause, lastErr = minPause, ""
		}
		if err.Error() != lastErr { // once, not every 15 s
			f.options.Log.Warn("reconnect to discovery; what is balanced at connect stays as it is", "address", f.options.Address, "err", err)
			lastErr = err.Error()
		}
		// Full jitter, so that nodes which lost the same replica do not come back
		// at the same moment.
		sleep(ctx, minPause/2+rand.N(pause))
		pause = min(2*pause, maxPause)
	}
}

// session is one connection and its stream; its end is an error. It makes a new
// connection each time: the address is a Service's, and another replica may
// answer.
func (f *Feed) session(parent context.Context) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	conn, err := f.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	token, err := readToken(f.options.TokenFile)
	if err != nil {
		return err
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, xdsapi.DeltaMethod)
	if err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	return f.converse(stream)
}

func (f *Feed) dial(ctx context.Context) (*grpc.ClientConn, error) {
	pem, err := f.options.Roots(ctx)
	if err != nil {
		return nil, fmt.Errorf("read CA of discovery: %w", err)
	}
	roots, err := pool(pem)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := grpc.NewClient("passthrough:///"+f.options.Address,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: f.host, MinVersion: tls.VersionTLS13})),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", addr)
		}),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0),
		grpc.WithReadBufferSize(bufferSize),
		grpc.WithWriteBufferSize(bufferSize),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: pingTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
	)
	if err != nil {
		return nil, fmt.Errorf("prepare connection: %w", err)
	}
	return conn, nil
}

// converse asks for everything, and answers what comes, until the stream ends.
func (f *Feed) converse(stream grpc.ClientStream) error {
	f.mu.Lock()
	versions := f.table.versions()
	f.mu.Unlock()
	next := &xdsapi.DeltaDiscoveryRequest{
		Node:                    &xdsapi.Node{Id: f.options.Node, UserAgentName: contract.NodeDaemonSet},
		TypeUrl:                 contract.TypeBalanced,
		ResourceNamesSubscribe:  []string{contract.Wildcard},
		InitialResourceVersions: versions,
	}
	for {
		// An error of sending is io.EOF; why, receiving tells.
		_ = stream.SendMsg(next)
		var r xdsapi.DeltaDiscoveryResponse
		if err := stream.RecvMsg(&r); err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		next = f.take(&r)
	}
}

// take applies a response, and returns the answer to it.
func (f *Feed) take(r *xdsapi.DeltaDiscoveryResponse) *xdsapi.DeltaDiscoveryRequest {
	f.options.Metrics.connected.Set(1)
	f.mu.Lock()
	err := f.table.apply(r)
	whole := f.table.whole
	f.mu.Unlock()
	if whole {
		f.tell()
	}
	answer := &xdsapi.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()}
	if err != nil {
		text := err.Error()
		f.options.Log.Warn("leave services to the proxy", "err", text[:min(len(text), maxDetail)])
		f.options.Metrics.refusals.Inc()
		answer.ErrorDetail = &xdsapi.Status{Code: int32(codes.InvalidArgument), Message: strings.ToValidUTF8(text[:min(len(text), maxDetail)], "")}
	}
	return answer
}

func readToken(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" || len(token) > maxToken || strings.ContainsAny(token, "\r\n") {
		return "", fmt.Errorf("read token: %s does not hold one line of at most %d bytes", file, maxToken)
	}
	return token, nil
}
