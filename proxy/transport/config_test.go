// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestWatch: what is reported, and what is not.
func TestWatch(t *testing.T) {
	ca := newAuthority(t, "CA")
	m := newMount(t, ca, leaf{serial: 1, dns: []string{serverName}})
	now := time.Now()
	m.Files.Now = func() time.Time { return now } // the clock of synctest is in 2000
	certificates, err := Load(m.Files)
	if err != nil {
		t.Fatal(err)
	}
	at := func(serial int64) leaf { return leaf{serial: serial, notAfter: now.Add(time.Hour)} }
	synctest.Test(t, func(t *testing.T) {
		const interval = 10 * time.Second
		ctx, cancel := context.WithCancel(t.Context())
		var reports []string
		done := make(chan error, 1)
		go func() {
			done <- certificates.Watch(ctx, interval, func(err error) {
				if err == nil {
					reports = append(reports, "changed")
				} else {
					reports = append(reports, err.Error())
				}
			})
		}()
		pass := func(intervals int, want ...string) {
			t.Helper()
			time.Sleep(time.Duration(intervals)*interval + interval/2)
			synctest.Wait()
			if len(reports) != len(want) {
				t.Fatalf("reported %q, want %q", reports, want)
			}
			for i := range want {
				if !strings.Contains(reports[i], want[i]) {
					t.Errorf("reported %q, want %q", reports[i], want[i])
				}
			}
			reports = nil
			time.Sleep(interval / 2)
			synctest.Wait()
		}
		pass(3)
		m.swap(func(dir string) { ca.write(t, dir, at(2)) })
		pass(2, "changed")
		broken := func(dir string) {
			ca.write(t, dir, at(3))
			os.WriteFile(filepath.Join(dir, "tls.crt"), []byte("half wr"), 0o600)
		}
		m.swap(broken)
		time.Sleep(interval) // met once
		synctest.Wait()
		m.swap(func(dir string) { ca.write(t, dir, at(4)) })
		pass(2, "changed")
		m.swap(broken)
		pass(20, "no certificate in it")
		m.swap(func(dir string) { ca.write(t, dir, at(5)) })
		pass(2, "changed")
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
}

// TestConfigErrors: what would be insecure or useless is refused.
func TestConfigErrors(t *testing.T) {
	w := newWorld(t)
	if _, err := Load(Files{Certificate: "/tls.crt"}); err == nil || !strings.Contains(err.Error(), "need each other") {
		t.Errorf("a certificate without key: %v", err)
	}
	if _, err := Load(Files{CA: "/does/not/exist"}); err == nil || !strings.Contains(err.Error(), "/does/not/exist: no such file") {
		t.Errorf("a missing file: %v", err)
	}
	f := w.server.files
	f.Now = func() time.Time { return time.Now().Add(-2 * time.Hour) }
	if _, err := Load(f); err == nil || !strings.Contains(err.Error(), "not valid before") {
		t.Errorf("a certificate of the future: %v", err)
	}
	f = Files{Certificate: w.server.files.Certificate, Key: w.server.files.Key}
	c, err := Load(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, clients := range []ClientCertificates{OptionalClientCertificate, RequiredClientCertificate} {
		if _, err := c.Server(ServerOptions{Clients: clients}); err == nil || !strings.Contains(err.Error(), "no CA file") {
			t.Errorf("clients are verified by public roots: %v", err)
		}
	}
	if _, err := c.Server(ServerOptions{}); err != nil {
		t.Errorf("a server that needs no CA: %v", err)
	}
	anonymous, err := Load(Files{CA: w.server.files.CA})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := anonymous.Server(ServerOptions{}); err == nil || !strings.Contains(err.Error(), "no certificate file") {
		t.Errorf("a server without certificate: %v", err)
	}
	if !anonymous.Expires().IsZero() {
		t.Error("no certificate expires")
	}
}

// TestNoTickets: a client that would resume gets nothing to do it with.
func TestNoTickets(t *testing.T) {
	w := newWorld(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := w.client.Client(ClientOptions{ServerName: serverName})
		config.MaxVersion = version
		config.SessionTicketsDisabled, config.ClientSessionCache = false, tls.NewLRUClientSessionCache(1)
		h := newHandshaker(t, Options{Server: w.serverConfig(t, ServerOptions{})})
		for range 2 {
			a, b := sockets(t)
			result := make(chan Result, 1)
			h.Server(b, nil, func(r Result) { result <- r })
			client := tls.Client(a, config)
			if err := client.Handshake(); err != nil {
				t.Fatal(err)
			}
			s := (<-result).must(t)
			if _, err := s.Conn.Write(s.Transport.Close(nil)); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if client.ConnectionState().DidResume {
				t.Errorf("%s: resumed", tls.VersionName(version))
			}
		}
	}
}
