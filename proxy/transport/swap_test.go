// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// mount is a secret as the kubelet mounts it: files are links through ..data,
// which is swapped.
type mount struct {
	t     *testing.T
	dir   string
	Files Files
	count int
}

func newMount(t *testing.T, a *authority, l leaf) *mount {
	t.Helper()
	m := &mount{t: t, dir: t.TempDir()}
	m.Files = Files{
		Certificate: filepath.Join(m.dir, "tls.crt"),
		Key:         filepath.Join(m.dir, "tls.key"),
		CA:          filepath.Join(m.dir, "ca.crt"),
	}
	m.swap(func(dir string) { a.write(t, dir, l) })
	for _, name := range []string{"tls.crt", "tls.key", "ca.crt"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(m.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// swap makes what fill writes the new content.
func (m *mount) swap(fill func(dir string)) {
	m.t.Helper()
	m.count++
	name := strings.Repeat("x", m.count)
	if err := os.Mkdir(filepath.Join(m.dir, name), 0o700); err != nil {
		m.t.Fatal(err)
	}
	fill(filepath.Join(m.dir, name))
	link := filepath.Join(m.dir, "..data_tmp")
	if err := os.Symlink(name, link); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(link, filepath.Join(m.dir, "..data")); err != nil {
		m.t.Fatal(err)
	}
}

// TestSwapUnderConnections replaces certificate and CA of a server: connections
// stay, new ones get the new, and of bad files nothing is used.
func TestSwapUnderConnections(t *testing.T) {
	w := newWorld(t)
	m := newMount(t, w.ca, leaf{serial: 101, dns: []string{serverName}})
	certificates, err := Load(m.Files)
	if err != nil {
		t.Fatal(err)
	}
	server, err := certificates.Server(ServerOptions{Clients: RequiredClientCertificate})
	if err != nil {
		t.Fatal(err)
	}
	connect := func(client *Certificates, serial int64) (s, c Result) {
		t.Helper()
		s, c = shake(t, server, client.Client(ClientOptions{ServerName: serverName}))
		if c.must(t).Peer.Certificate.SerialNumber.Int64() != serial {
			t.Errorf("the server shows certificate %v, want %d", c.Peer.Certificate.SerialNumber, serial)
		}
		return s, c
	}
	s, c := connect(w.client, 101)
	s.must(t)

	m.swap(func(dir string) { w.ca.write(t, dir, leaf{serial: 102, dns: []string{serverName}}) })
	reload(t, certificates, true, "")
	s2, _ := connect(w.client, 102)
	s2.must(t)

	bad := map[string]struct {
		file, content, want string
	}{
		"no PEM":       {"tls.crt", "hello", "parse certificate " + m.Files.Certificate + ": no certificate in it"},
		"damaged":      {"ca.crt", string(w.ca.pem[:len(w.ca.pem)/2]), "parse CA " + m.Files.CA + ": 1 of 1 PEM blocks are damaged"},
		"one damaged":  {"ca.crt", string(w.ca.pem[:100]) + "\n" + string(w.ca.pem), "1 of 2 PEM blocks are damaged"},
		"key as CA":    {"ca.crt", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "is a PRIVATE KEY"},
		"no X.509":     {"ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "parse PEM block 1: x509"},
		"empty":        {"ca.crt", "", "no certificate in it"},
		"other key":    {"tls.key", otherKey(t, w.ca), "parse key " + m.Files.Key + " of certificate " + m.Files.Certificate + ": tls: private key does not match"},
		"large":        {"tls.key", strings.Repeat("x", maxFile+1), m.Files.Key + ": larger than 1048576 bytes"},
		"gone":         {"tls.key", "gone", "tls.key: no such file"},
		"no authority": {"ca.crt", "-----BEGIN NONSENSE-----\n", "damaged"},
	}
	for name, test := range bad {
		t.Run(name, func(t *testing.T) {
			m.swap(func(dir string) {
				w.ca.write(t, dir, leaf{serial: 666, dns: []string{serverName}})
				if test.content == "gone" {
					os.Remove(filepath.Join(dir, test.file))
				} else if err := os.WriteFile(filepath.Join(dir, test.file), []byte(test.content), 0o600); err != nil {
					t.Fatal(err)
				}
			})
			reload(t, certificates, false, test.want)
			s, _ := connect(w.client, 102)
			s.must(t)
		})
	}
	for name, l := range map[string]leaf{"expired on": {notAfter: time.Now().Add(-time.Minute)}} {
		m.swap(func(dir string) { w.ca.write(t, dir, l) })
		reload(t, certificates, false, "use certificate "+m.Files.Certificate+": "+name)
	}

	other := newAuthority(t, "another CA")
	trusting := other.load(t, leaf{serial: 7})
	m.swap(func(dir string) { other.write(t, dir, leaf{serial: 103, dns: []string{serverName}}) })
	reload(t, certificates, true, "")
	s3, _ := connect(trusting, 103)
	s3.must(t)
	if old, _ := shake(t, server, w.client.Client(ClientOptions{ServerName: serverName})); old.Err == nil {
		t.Error("a client of the old CA gets in")
	}
	if got := certificates.Expires(); time.Until(got) < 50*time.Minute || time.Until(got) > time.Hour {
		t.Errorf("expires %v", got)
	}

	// The first connection has lived through all of that.
	sealed, err := c.Transport.Seal(nil, []byte("still here"))
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	if err := s.Transport.Open(sealed, func(p []byte) error { got = append(got, p...); return nil }); err != nil || string(got) != "still here" {
		t.Errorf("got %q, %v", got, err)
	}
}

// reload checks what Reload returns, and that without a change it does nothing.
func reload(t *testing.T, c *Certificates, changed bool, want string) {
	t.Helper()
	before := c.current.Load()
	got, err := c.Reload()
	switch {
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Fatalf("Reload: %v, want %q", err, want)
	case want == "" && err != nil:
		t.Fatalf("Reload: %v", err)
	case got != changed || (c.current.Load() != before) != changed:
		t.Fatalf("Reload says %v, content is new: %v", got, c.current.Load() != before)
	}
	if want == "" {
		if again, err := c.Reload(); again || err != nil {
			t.Errorf("Reload again: %v, %v", again, err)
		}
	}
}

func otherKey(t *testing.T, a *authority) string {
	_, key := a.issue(t, leaf{})
	return string(key)
}

// TestSwapClient: a client shows its new certificate and trusts the new CA.
func TestSwapClient(t *testing.T) {
	w := newWorld(t)
	m := newMount(t, w.ca, leaf{serial: 201})
	certificates, err := Load(m.Files)
	if err != nil {
		t.Fatal(err)
	}
	shown := func(world *world) int64 {
		t.Helper()
		s, c := shake(t, world.serverConfig(t, ServerOptions{Clients: RequiredClientCertificate}), certificates.Client(ClientOptions{ServerName: serverName}))
		c.must(t)
		return s.must(t).Peer.Certificate.SerialNumber.Int64()
	}
	if got := shown(w); got != 201 {
		t.Errorf("client shows %d", got)
	}
	next := newWorld(t)
	m.swap(func(dir string) { next.ca.write(t, dir, leaf{serial: 202}) })
	reload(t, certificates, true, "")
	if got := shown(next); got != 202 {
		t.Errorf("client shows %d", got)
	}
}

// TestSwapWhileConnecting swaps as fast as it can under handshakes. No set that
// is half old and half new may be seen, and none may fail.
func TestSwapWhileConnecting(t *testing.T) {
	w := newWorld(t)
	m := newMount(t, w.ca, leaf{serial: 1000, dns: []string{serverName}})
	certificates, err := Load(m.Files)
	if err != nil {
		t.Fatal(err)
	}
	server, err := certificates.Server(ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			// Swaps without a pause may leave no moment to read a whole set.
			if _, err := certificates.Reload(); err != nil && !strings.Contains(err.Error(), "they change all the time") {
				t.Errorf("Reload: %v", err)
				return
			}
		}
	})
	for i := range 50 {
		m.swap(func(dir string) { w.ca.write(t, dir, leaf{serial: int64(1001 + i), dns: []string{serverName}}) })
		s, c := shake(t, server, w.client.Client(ClientOptions{ServerName: serverName}))
		s.must(t)
		c.must(t)
	}
}
