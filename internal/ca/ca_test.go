// SPDX-License-Identifier: Apache-2.0

package ca_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/shuntmesh/shunt/internal/ca"
)

var day = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

func newAuthority(t *testing.T, now time.Time) *ca.Authority {
	t.Helper()
	a, err := ca.New(now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestIssue(t *testing.T) {
	a := newAuthority(t, day)
	tests := []struct {
		name  string
		now   time.Time
		life  time.Duration
		names []string
		err   string
	}{
		{name: "ok", now: day, life: time.Hour, names: []string{"a.example", "b.example"}},
		{name: "no name", now: day, life: time.Hour, err: "no DNS name"},
		{name: "no life", now: day, names: []string{"a"}, err: "not positive"},
		{name: "after the CA", now: day.Add(ca.Life + time.Hour), life: time.Hour, names: []string{"a"}, err: "the CA expired on 2036"},
		{name: "before the CA", now: day.Add(-time.Hour), life: time.Hour, names: []string{"a"}, err: "not valid before"},
		{name: "cut at the CA's end", now: day.Add(ca.Life - time.Minute), life: time.Hour, names: []string{"a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cert, err := a.Issue(tt.now, tt.life, tt.names...)
			if !matches(err, tt.err) {
				t.Fatalf("error %v, want one with %q", err, tt.err)
			}
			if tt.err != "" {
				return
			}
			for _, name := range tt.names {
				verify(t, a, cert, name, tt.now)
			}
			if cert.Leaf.NotAfter.After(a.NotAfter()) {
				t.Errorf("leaf ends %v, after its CA %v", cert.Leaf.NotAfter, a.NotAfter())
			}
		})
	}
}

func verify(t *testing.T, a *ca.Authority, cert tls.Certificate, name string, now time.Time) {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(a.CertPEM()) {
		t.Fatal("CertPEM is no certificate")
	}
	_, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now})
	if err != nil {
		t.Errorf("verify for %q: %v", name, err)
	}
}

func TestParse(t *testing.T) {
	a, b := newAuthority(t, day), newAuthority(t, day)
	keyA, keyB := keyPEM(t, a), keyPEM(t, b)
	leaf, err := a.Issue(day, time.Hour, "x")
	if err != nil {
		t.Fatal(err)
	}
	leafPEM, leafKey := encode(t, leaf)
	tests := []struct {
		name      string
		cert, key []byte
		err       string
	}{
		{name: "round trip", cert: a.CertPEM(), key: keyA},
		{name: "empty", err: "parse CA"},
		{name: "no PEM", cert: []byte("hello"), key: keyA, err: "parse CA"},
		{name: "wrong key", cert: a.CertPEM(), key: keyB, err: "does not match"},
		{name: "no CA", cert: leafPEM, key: leafKey, err: "may not sign certificates"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ca.Parse(tt.cert, tt.key)
			if !matches(err, tt.err) {
				t.Fatalf("error %v, want one with %q", err, tt.err)
			}
			if tt.err == "" && string(got.CertPEM()) != string(tt.cert) {
				t.Error("the certificate changed on its way")
			}
		})
	}
}

// memory is a Store in which a rival replica may have been first.
type memory struct {
	mu        sync.Mutex
	cert, key []byte
	rival     *ca.Authority // stored just before the first Create
	err       error
	created   int
	replaced  int
}

func (m *memory) Load(context.Context) (certPEM, keyPEM []byte, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, nil, m.err
	}
	if m.cert == nil {
		return nil, nil, ca.ErrNotFound
	}
	return m.cert, m.key, nil
}

func (m *memory) Create(_ context.Context, certPEM, keyPEM []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rival != nil {
		m.cert = m.rival.CertPEM()
		m.key, _ = m.rival.KeyPEM()
	}
	if m.cert != nil {
		return ca.ErrExists
	}
	m.cert, m.key = certPEM, keyPEM
	m.created++
	return nil
}

func (m *memory) Replace(_ context.Context, oldPEM, certPEM, keyPEM []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !bytes.Equal(m.cert, oldPEM) {
		return ca.ErrExists
	}
	m.cert, m.key = certPEM, keyPEM
	m.replaced++
	return nil
}

func TestLoadOrCreate(t *testing.T) {
	stored, rival := newAuthority(t, day), newAuthority(t, day)
	tests := []struct {
		name  string
		store *memory
		now   time.Time
		want  *ca.Authority // nil: a new one
		err   string
	}{
		{name: "creates", store: &memory{}, now: day},
		{name: "loads", store: &memory{cert: stored.CertPEM(), key: keyPEM(t, stored)}, now: day, want: stored},
		{name: "loses the race", store: &memory{rival: rival}, now: day, want: rival},
		{name: "store away", store: &memory{err: errors.New("connection refused")}, now: day, err: "load CA: connection refused"},
		{name: "malformed", store: &memory{cert: []byte("x"), key: []byte("y")}, now: day, err: "delete it, restart"},
		{name: "expired", store: &memory{cert: stored.CertPEM(), key: keyPEM(t, stored)}, now: day.Add(2 * ca.Life), err: "expired on 2036-11-18 (to make a new one: delete it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := ca.LoadOrCreate(t.Context(), tt.store, tt.now)
			if !matches(err, tt.err) {
				t.Fatalf("error %v, want one with %q", err, tt.err)
			}
			if tt.want != nil && string(a.CertPEM()) != string(tt.want.CertPEM()) {
				t.Error("not the authority of the store")
			}
			if tt.want == nil && tt.err == "" && tt.store.created != 1 {
				t.Errorf("created %d times, want once", tt.store.created)
			}
		})
	}
}

func TestLeafRenews(t *testing.T) {
	defer goleak.VerifyNone(t)
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t, time.Now())
		leaf, err := ca.NewLeaf(a, 24*time.Hour, "x")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- leaf.Run(ctx) }()

		first := current(t, leaf)
		time.Sleep(16*time.Hour - time.Minute)
		synctest.Wait()
		if current(t, leaf) != first {
			t.Error("renewed before two thirds of its life")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		second := current(t, leaf)
		if second == first {
			t.Error("not renewed after two thirds of its life")
		}
		verify(t, a, *second, "x", time.Now().Add(23*time.Hour))
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestLeafOfExpiringAuthority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t, time.Now())
		time.Sleep(ca.Life - time.Hour)
		leaf, err := ca.NewLeaf(a, 24*time.Hour, "x")
		if err != nil {
			t.Fatal(err)
		}
		// Each renewal ends with the authority; Run must neither spin nor
		// hide that nobody can connect any more.
		if err := leaf.Run(t.Context()); !matches(err, "the CA expired") {
			t.Errorf("Run: %v, want that the CA expired", err)
		}
	})
}

func TestLeafServes(t *testing.T) {
	a := newAuthority(t, time.Now())
	leaf, err := ca.NewLeaf(a, time.Hour, "discovery.example")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: leaf.GetCertificate, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			err = conn.(*tls.Conn).Handshake()
			conn.Close()
		}
		served <- err
	}()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.CertPEM())
	conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "discovery.example"})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func current(t *testing.T, l *ca.Leaf) *tls.Certificate {
	t.Helper()
	cert, err := l.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func matches(err error, want string) bool {
	if want == "" {
		return err == nil
	}
	return err != nil && strings.Contains(err.Error(), want)
}
