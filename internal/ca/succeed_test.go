// SPDX-License-Identifier: Apache-2.0

package ca_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shuntmesh/shunt/internal/ca"
)

// believes reports whether a client that trusts the roots takes what the server
// shows: its leaf, and the certificates that come with it.
func believes(roots []byte, shown tls.Certificate, now time.Time) error {
	trusted, between := x509.NewCertPool(), x509.NewCertPool()
	trusted.AppendCertsFromPEM(roots)
	for _, der := range shown.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		between.AddCert(cert)
	}
	_, err := shown.Leaf.Verify(x509.VerifyOptions{DNSName: "x", Roots: trusted, Intermediates: between, CurrentTime: now})
	return err
}

func join(certs [][]byte) (all []byte) {
	for _, cert := range certs {
		all = append(all, cert...)
	}
	return all
}

func issue(t *testing.T, a *ca.Authority, now time.Time) tls.Certificate {
	t.Helper()
	cert, err := a.Issue(now, 24*time.Hour, "x")
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// stored is the authority as another replica reads it.
func stored(t *testing.T, a *ca.Authority) *ca.Authority {
	t.Helper()
	out, err := ca.Parse(a.StoredPEM(), keyPEM(t, a))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Whoever was told to trust any of three authorities in a row believes the leaves
// of the newest, for as long as theirs is valid; and of those who are told now,
// each believes replicas that are one behind.
func TestSuccession(t *testing.T) {
	const step = ca.Life - ca.RenewBefore
	first := newAuthority(t, day)
	var line []*ca.Authority
	now := day
	for next := first; len(line) < 3; now = now.Add(step) {
		line = append(line, stored(t, next))
		if len(line) == 3 {
			break
		}
		var err error
		if next, err = line[len(line)-1].Successor(now.Add(step)); err != nil {
			t.Fatal(err)
		}
	}
	second, third := line[1], line[2] // made at 8 and 16 years
	for _, tt := range []struct {
		name   string
		roots  []byte
		server *ca.Authority
		years  float64
		ok     bool
	}{
		{"old pod, new server", first.CertPEM(), second, 8.1, true},
		{"old pod, when its CA has expired", first.CertPEM(), second, 10.1, false},
		{"new pod, new server", join(second.Roots(day.Add(step))), second, 8.1, true},
		{"new pod, server that is behind", join(second.Roots(day.Add(step))), first, 8.1, true},
		{"new root alone, server that is behind", second.CertPEM(), first, 8.1, false},
		{"pod of the second, third server", second.CertPEM(), third, 16.1, true},
		{"third alone", third.CertPEM(), third, 16.1, true},
		{"pod of the first, third server", first.CertPEM(), third, 16.1, false},
	} {
		now := day.Add(time.Duration(tt.years * 365 * 24 * float64(time.Hour)))
		if err := believes(tt.roots, issue(t, tt.server, now), now); (err == nil) != tt.ok {
			t.Errorf("%s: %v, want believed %v", tt.name, err, tt.ok)
		}
	}
	if n := len(third.Roots(now)); n != 2 {
		t.Errorf("%d roots, want its own and the one before", n)
	}
	if n := len(third.Roots(now.Add(3 * 365 * 24 * time.Hour))); n != 1 {
		t.Errorf("%d roots after the one before has expired, want its own alone", n)
	}
}

// Two replacements soon after one another: who knows the first believes the third.
func TestSuccessionInHaste(t *testing.T) {
	a := newAuthority(t, day)
	b, err := a.Successor(day)
	if err != nil {
		t.Fatal(err)
	}
	c, err := stored(t, b).Successor(day)
	if err != nil {
		t.Fatal(err)
	}
	for name, roots := range map[string][]byte{"first": a.CertPEM(), "second": b.CertPEM(), "third": c.CertPEM()} {
		if err := believes(roots, issue(t, stored(t, c), day), day); err != nil {
			t.Errorf("who knows the %s: %v", name, err)
		}
	}
	if err := believes(newAuthority(t, day).CertPEM(), issue(t, c, day), day); err == nil {
		t.Error("a stranger's root believes it")
	}
}

func TestExpiredHasNoSuccessor(t *testing.T) {
	if _, err := newAuthority(t, day).Successor(day.Add(ca.Life + time.Hour)); !matches(err, "the CA expired on") {
		t.Errorf("error %v", err)
	}
}

func TestParseRefusesForeignHistory(t *testing.T) {
	a, b, c := newAuthority(t, day), newAuthority(t, day), newAuthority(t, day)
	leaf, _ := encode(t, issue(t, a, day))
	for want, history := range map[string][]byte{
		"may not sign certificates": leaf,
		"there are two":             append(b.CertPEM(), c.CertPEM()...),
	} {
		if _, err := ca.Parse(append(a.CertPEM(), history...), keyPEM(t, a)); !matches(err, want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// Many replicas find the authority due: one replaces it, all go on with the same,
// and it is not due for years.
func TestRenew(t *testing.T) {
	a := newAuthority(t, day)
	s := &memory{cert: a.StoredPEM(), key: keyPEM(t, a)}
	early := day.Add(ca.Life - ca.RenewBefore - time.Hour)
	if got, err := ca.Renew(t.Context(), s, a, early); got != a || err != nil || s.replaced != 0 {
		t.Errorf("before it is due: %v, replaced %d times", err, s.replaced)
	}
	now := early.Add(2 * time.Hour)
	var first string
	for range 5 {
		got, err := ca.Renew(t.Context(), s, a, now)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(got.StoredPEM())
		}
		if string(got.StoredPEM()) != first || got.Due(now.Add(7*365*24*time.Hour)) {
			t.Error("another authority than the first replica's, or due again")
		}
	}
	if s.replaced != 1 || !strings.Contains(first, string(a.CertPEM())) {
		t.Errorf("replaced %d times", s.replaced)
	}
	if _, err := ca.Renew(t.Context(), s, a, day.Add(ca.Life+time.Hour)); !matches(err, "the CA expired on") {
		t.Errorf("too late: %v", err)
	}
}

// Discovery's leaf comes from the new authority at its next renewal, and stays
// with the one that it has while the store is away.
func TestLeafFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t, time.Now())
		b, err := a.Successor(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := ca.NewLeaf(a, 24*time.Hour, "x")
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		leaf.Follow(func(context.Context) *ca.Authority {
			if asked++; asked == 1 {
				return nil
			}
			return b
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- leaf.Run(ctx) }()
		for _, behind := range []bool{true, false} {
			time.Sleep(17 * time.Hour)
			synctest.Wait()
			if err := believes(b.CertPEM(), *current(t, leaf), time.Now()); (err != nil) != behind {
				t.Errorf("asked %d times: %v, want behind %v", asked, err, behind)
			}
			if err := believes(a.CertPEM(), *current(t, leaf), time.Now()); err != nil {
				t.Errorf("who knows the old one: %v", err)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
