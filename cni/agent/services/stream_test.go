// SPDX-License-Identifier: Apache-2.0

package services

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/shuntmesh/shunt/internal/ca"
	"github.com/shuntmesh/shunt/internal/xdsapi"
)

// discovery is one that a test plays.
type discovery struct {
	t         *testing.T
	address   string
	authority *ca.Authority
	streams   chan *serverStream
	server    *grpc.Server
}

// serverStream is a stream that a test holds the far end of.
type serverStream struct {
	grpc.ServerStream
	end chan error
}

func (s *serverStream) receive(t *testing.T) *xdsapi.DeltaDiscoveryRequest {
	t.Helper()
	r := new(xdsapi.DeltaDiscoveryRequest)
	if err := s.RecvMsg(r); err != nil {
		t.Fatal(err)
	}
	return r
}

func (s *serverStream) send(t *testing.T, r *xdsapi.DeltaDiscoveryResponse) {
	t.Helper()
	r.Nonce = "nonce"
	if err := s.SendMsg(r); err != nil {
		t.Fatal(err)
	}
}

func newDiscovery(t *testing.T) *discovery {
	t.Helper()
	authority, err := ca.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	d := &discovery{t: t, authority: authority, streams: make(chan *serverStream)}
	d.start("127.0.0.1:0")
	return d
}

func (d *discovery) start(address string) {
	d.t.Helper()
	leaf, err := ca.NewLeaf(d.authority, time.Hour, "localhost")
	if err != nil {
		d.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		d.t.Fatal(err)
	}
	_, number, _ := net.SplitHostPort(ln.Addr().String())
	d.address = "localhost:" + number
	service, method, _ := strings.Cut(strings.TrimPrefix(xdsapi.DeltaMethod, "/"), "/")
	d.server = grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{GetCertificate: leaf.GetCertificate, MinVersion: tls.VersionTLS13})))
	d.server.RegisterService(&grpc.ServiceDesc{ServiceName: service, HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: method, ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return d.serve(s) },
	}}}, nil)
	done := make(chan error, 1)
	server := d.server
	go func() { done <- server.Serve(ln) }()
	d.t.Cleanup(func() {
		server.Stop()
		<-done
	})
}

func (d *discovery) serve(s grpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(s.Context())
	if got := fmt.Sprint(md.Get("authorization")); got != "[Bearer token]" {
		return status.Error(codes.Unauthenticated, "no such token: "+got)
	}
	stream := &serverStream{s, make(chan error, 1)}
	select {
	case d.streams <- stream:
	case <-s.Context().Done():
		return nil
	}
	select {
	case err := <-stream.end:
		return err
	case <-s.Context().Done():
		return nil
	}
}

// next returns the next stream that the feed opens.
func (d *discovery) next() *serverStream {
	d.t.Helper()
	select {
	case s := <-d.streams:
		return s
	case <-time.After(10 * time.Second):
		d.t.Fatal("no stream is opened")
		return nil
	}
}

func (d *discovery) feed(k *kernel, token string) *Feed {
	d.t.Helper()
	f := newFeed(d.t, d.address, k)
	f.options.TokenFile = filepath.Join(d.t.TempDir(), "token")
	f.options.Roots = func(context.Context) ([]byte, error) { return d.authority.CertPEM(), nil }
	if err := os.WriteFile(f.options.TokenFile, []byte(token+"\n"), 0o600); err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	d.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			d.t.Errorf("Run: %v", err)
		}
	})
	return f
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestStream(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("feed", func(t *testing.T) {
		d, k := newDiscovery(t), &kernel{}
		f := d.feed(k, "token")
		s := d.next()
		first := s.receive(t)
		if got := fmt.Sprint(first.GetNode().GetId(), first.GetTypeUrl(), first.GetResourceNamesSubscribe(), first.GetInitialResourceVersions()); got != "node-1type.googleapis.com/shunt.balance.BalancedPort[*] map[]" {
			t.Errorf("the first request is %s", got)
		}
		s.send(t, response(nil, resource(t, "a", "7", port(80, []string{"10.96.0.1"}, "10.1.0.1:80")), resource(t, "bad", "1", port(80, nil))))
		answer := s.receive(t)
		if answer.GetResponseNonce() != "nonce" || !strings.Contains(answer.GetErrorDetail().GetMessage(), `resource "bad": it has 0 addresses`) {
			t.Errorf("what can't be used is answered by %v", answer)
		}
		s.send(t, response([]string{"bad"}))
		if answer := s.receive(t); answer.GetErrorDetail() != nil {
			t.Errorf("what can be used is answered by %v", answer)
		}
		eventually(t, "both are written", func() bool { return figure(t, f.options.Metrics, "shunt_node_balance_writes_total") == 2 })
		if got := figure(t, f.options.Metrics, "shunt_node_balance_connected"); got != 1 {
			t.Errorf("connected is %v", got)
		}
		if got := k.tables(); len(got) != 2 || got[0] != one || got[1] != one {
			t.Errorf("wrote %q", got)
		}

		// It goes away, and comes back with nothing new: nothing is written, and
		// nothing is sent again.
		s.end <- status.Error(codes.Unavailable, "going down")
		s = d.next()
		if got := fmt.Sprint(s.receive(t).GetInitialResourceVersions()); got != "map[a:7]" {
			t.Errorf("the second stream says that it has %s", got)
		}
		if got := k.tables(); len(got) > 0 {
			t.Errorf("without discovery the table was written: %q", got)
		}
		s.send(t, response([]string{"a"}))
		eventually(t, "the table is empty", func() bool { got := k.tables(); return len(got) == 1 && got[0] == "" })
	})
}

// Whatever is wrong is said, and tried again; none of it is the end.
func TestStreamComesBack(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("feed", func(t *testing.T) {
		d, k := newDiscovery(t), &kernel{}
		f := d.feed(k, "wrong")
		time.Sleep(50 * time.Millisecond)
		if err := os.WriteFile(f.options.TokenFile, []byte("token"), 0o600); err != nil {
			t.Fatal(err)
		}
		d.next().receive(t)

		d.server.Stop()
		_, number, _ := net.SplitHostPort(d.address)
		d.start("127.0.0.1:" + number)
		d.next().receive(t)
	})
}

func TestSessionErrors(t *testing.T) {
	dir := t.TempDir()
	other, err := ca.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	d := newDiscovery(t)
	good := write("good", "token")
	roots := func(pem []byte, err error) func(context.Context) ([]byte, error) {
		return func(context.Context) ([]byte, error) { return pem, err }
	}
	tests := []struct {
		name  string
		token string
		roots func(context.Context) ([]byte, error)
		want  string
	}{
		{"no token", filepath.Join(dir, "none"), roots(d.authority.CertPEM(), nil), "read token: open "},
		{"an empty token", write("empty", "\n"), roots(d.authority.CertPEM(), nil), "does not hold one line"},
		{"two lines", write("two", "a\nb"), roots(d.authority.CertPEM(), nil), "does not hold one line"},
		{"no CA", good, roots(nil, errors.New("API server away")), "read CA of discovery: API server away"},
		{"a CA that is none", good, roots([]byte("none"), nil), "there is no certificate"},
		{"another CA", good, roots(other.CertPEM(), nil), "certificate signed by unknown authority"},
		{"a token that is refused", write("bad", "bad"), roots(d.authority.CertPEM(), nil), "no such token"},
	}
	for _, tt := range tests {
		f := newFeed(t, d.address, &kernel{})
		f.options.TokenFile, f.options.Roots = tt.token, tt.roots
		if err := f.session(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
