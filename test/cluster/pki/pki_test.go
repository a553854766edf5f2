// SPDX-License-Identifier: Apache-2.0

package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/test/cluster/pki"
)

func TestIssue(t *testing.T) {
	dir := t.TempDir()
	authority, err := pki.NewAuthority(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	id := pki.Identity{
		Name: "server", CommonName: "someone", Organization: "group",
		DNSNames: []string{"name.example"}, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
	}
	if err := authority.Issue(id); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("the authority's certificate can't be read")
	}
	for _, name := range []string{"name.example", "192.0.2.1"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("verify as %s: %v", name, err)
		}
	}
	client := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := pair.Leaf.Verify(client); err != nil {
		t.Errorf("verify as a client: %v", err)
	}
	if got := pair.Leaf.Subject.String(); got != "CN=someone,O=group" {
		t.Errorf("subject is %s", got)
	}
}

func TestKubeconfig(t *testing.T) {
	dir := t.TempDir()
	authority, err := pki.NewAuthority(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "kubeconfig")
	if err := authority.Kubeconfig(path, "https://192.0.2.1", "nobody"); err == nil {
		t.Error("a kubeconfig of nobody was made")
	}
	if err := authority.Issue(pki.Identity{Name: "admin", CommonName: "admin"}); err != nil {
		t.Fatal(err)
	}
	if err := authority.Kubeconfig(path, "https://192.0.2.1", "admin"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the kubeconfig: %v", info.Mode())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), dir) || !strings.Contains(string(text), "server: https://192.0.2.1\n") {
		t.Errorf("the kubeconfig refers to other files, or to no server:\n%s", text)
	}
}
