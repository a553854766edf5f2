// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/xds"
	"github.com/shuntmesh/shunt/test/bench/process"
)

// TestControl: a client of discovery learns the services, and sees changes.
func TestControl(t *testing.T) {
	dir := t.TempDir()
	ca, token := filepath.Join(dir, "ca"), filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("any"), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := process.NewPorts().FreeN(2)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() {
		done <- run(ctx, []string{
			"-listen", free[0].String(), "-listen-http", free[1].String(), "-ca", ca, "-services", "3", "-endpoints", "5",
			"-backends", "127.0.0.1:1001,127.0.0.1:1002", "-changes", "100",
		})
	}()
	pem := waitFile(t, ca)
	client, err := xds.NewClient(xds.Options{Address: free[0].String(), ServerName: "localhost", CAPEM: pem, TokenFile: token, NodeID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	go func() { done <- client.Run(ctx) }()
	for i := range 3 {
		ap := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 96, 0, byte(i)}), 80)
		if d, err := client.Resolve(t.Context(), ap); err != nil || d.Service == nil {
			t.Fatalf("Resolve(%v) = %v, %v", ap, d, err)
		}
	}
	before := client.Stats().Updates
	time.Sleep(300 * time.Millisecond)
	if s := client.Stats(); s.Endpoints < 11 || s.Endpoints > 12 || s.Updates < before+5 {
		t.Errorf("%+v after 30 changes of 2 and 10 endpoints (%d updates before)", s, before)
	}
	cancel()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func waitFile(t *testing.T, path string) []byte {
	t.Helper()
	for range 500 {
		if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
			return b
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s does not appear", path)
	return nil
}
