// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shuntmesh/shunt/internal/ca"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook"
	"github.com/shuntmesh/shunt/webhook/inject"
)

const serverName = contract.WebhookService + "." + contract.SystemNamespace + ".svc"

// linger is short, and longer than a review takes.
const linger = 300 * time.Millisecond

// running is a server on loopback with a certificate of its own authority.
type running struct {
	*webhook.Server
	client  *http.Client // trusts the authority, as the caBundle makes the API server
	plain   *http.Client
	unready atomic.Pointer[error]
	stop    func() error

	mu       sync.Mutex
	reviewed []webhook.Answer
}

func run(t *testing.T) *running {
	t.Helper()
	authority, err := ca.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := authority.Issue(time.Now(), time.Hour, serverName)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{plain: &http.Client{Transport: &http.Transport{}}}
	r.Server, err = webhook.NewServer(webhook.Options{
		Listen: "127.0.0.1:0", ControlListen: "127.0.0.1:0",
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil },
		Ready: func() error {
			if err := r.unready.Load(); err != nil {
				return *err
			}
			return nil
		},
		Inject: func() inject.Options { return injectOptions() },
		Linger: linger,
		Namespace: func(_ context.Context, name string) (inject.Namespace, error) {
			return inject.Namespace{Name: name}, nil
		},
		Reviewed: func(a webhook.Answer) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.reviewed = append(r.reviewed, a)
		},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.CertPEM())
	r.client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		ForceAttemptHTTP2:     true,
		ExpectContinueTimeout: 5 * time.Second,
		TLSClientConfig:       &tls.Config{RootCAs: roots, ServerName: serverName, MinVersion: tls.VersionTLS13},
	}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	var stopped bool
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		err := <-done
		r.client.CloseIdleConnections()
		r.plain.CloseIdleConnections()
		return err
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		goleak.VerifyNone(t)
	})
	return r
}

func (r *running) post(t *testing.T, contentType string, body io.Reader) (int, []byte) {
	t.Helper()
	return r.postTo(t, webhook.NamespacePath, contentType, body)
}

// postTo returns when the answer has ended, and with it the handler.
func (r *running) postTo(t *testing.T, path, contentType string, body io.Reader) (int, []byte) {
	t.Helper()
	resp, err := r.client.Post("https://"+r.Addr().String()+path+"?timeout=5s", contentType, body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.ProtoMajor != 2 {
		t.Errorf("%s, want HTTP/2 as API servers speak it", resp.Proto)
	}
	return resp.StatusCode, text
}

func (r *running) control(t *testing.T, path string) (int, string) {
	t.Helper()
	resp, err := r.plain.Get("http://" + r.ControlAddr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
