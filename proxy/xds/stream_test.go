// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shuntmesh/shunt/internal/ca"
)

func TestReadToken(t *testing.T) {
	tests := []struct{ content, want, err string }{
		{content: "abc\n", want: "abc"},
		{content: "  abc", want: "abc"},
		{content: "", err: "one line"},
		{content: "a\nb", err: "one line"},
		{content: strings.Repeat("x", maxToken+1), err: "at most 16384 bytes"},
	}
	file := filepath.Join(t.TempDir(), "token")
	if _, err := readToken(file); err == nil {
		t.Error("a token that is not there was read")
	}
	for _, tt := range tests {
		if err := os.WriteFile(file, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readToken(file)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%.9q: %q, %v", tt.content, got, err)
		}
	}
}

func newTestClient(t *testing.T) *Client {
	t.Helper()
	authority, err := ca.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(Options{Address: "discovery:15012", CAPEM: authority.CertPEM()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNewClientRefuses(t *testing.T) {
	if _, err := NewClient(Options{Address: "discovery"}); err == nil || !strings.Contains(err.Error(), "allowed: host:port") {
		t.Errorf("address without a port: %v", err)
	}
	if _, err := NewClient(Options{Address: "discovery:1", CAPEM: []byte("x")}); err == nil || !strings.Contains(err.Error(), "PEM is wanted") {
		t.Errorf("CA that is none: %v", err)
	}
}

// How long Resolve waits, by what the connection does; nothing is connected
// here, the phases are played.
func TestResolveWaits(t *testing.T) {
	ap := netip.MustParseAddrPort(vip)
	tests := []struct {
		name  string
		play  func(*Client)
		wait  time.Duration
		limit time.Duration // of the caller's context
		err   error
	}{
		{name: "first connection never made", play: func(*Client) {}, wait: startPatience, err: ErrUnavailable},
		{name: "between first attempts", play: func(c *Client) { c.setPhase(down) }, wait: startPatience, err: ErrUnavailable},
		{name: "up, no answer", play: func(c *Client) { c.setPhase(up) }, wait: lookupTimeout, err: ErrUnavailable},
		{name: "was up, now down", play: func(c *Client) { c.setPhase(up); c.setPhase(down) }, wait: 0, err: ErrUnavailable},
		{name: "was up, connecting", play: func(c *Client) { c.setPhase(up); c.setPhase(connecting) }, wait: connectPatience, err: ErrUnavailable},
		{name: "down in the middle", play: func(c *Client) {
			c.setPhase(up)
			time.AfterFunc(time.Second, func() { c.setPhase(down) })
		}, wait: time.Second, err: ErrUnavailable},
		{name: "the caller gives up", play: func(c *Client) { c.setPhase(up) }, limit: time.Second, wait: time.Second, err: context.DeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newTestClient(t)
				tt.play(c)
				ctx := t.Context()
				if tt.limit > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.limit)
					defer cancel()
				}
				begin := time.Now()
				_, err := c.Resolve(ctx, ap)
				if took := time.Since(begin); !errors.Is(err, tt.err) || took != tt.wait {
					t.Errorf("%v after %v, want %v after %v", err, took, tt.err, tt.wait)
				}
			})
		})
	}
}

func TestConcurrentResolvesAskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestClient(t)
		c.setPhase(up)
		results := make(chan error, 100)
		for range cap(results) {
			go func() {
				_, err := c.Resolve(t.Context(), netip.MustParseAddrPort("192.0.2.1:443"))
				results <- err
			}()
		}
		synctest.Wait()
		c.mu.Lock()
		names := 0
		for req := c.state.next(); req != nil; req = c.state.next() {
			names += len(req.GetResourceNamesSubscribe())
		}
		g := &game{t: t, s: c.state, subs: map[ref]bool{}}
		g.send(kindAddress, "/192.0.2.1", nil)
		c.state.dirtyDemands[c.state.demands[netip.MustParseAddr("192.0.2.1")]] = struct{}{}
		c.publish()
		c.mu.Unlock()
		for range cap(results) {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if names != 1 {
			t.Errorf("%d names were subscribed to, want 1", names)
		}
	})
}

func TestNothingIsForgottenWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestClient(t)
		g := &game{t: t, s: c.state, subs: map[ref]bool{}}
		c.state.want(netip.MustParseAddrPort(vip), time.Now())
		g.sendService(1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { c.sweep(ctx); close(done) }()
		addresses := func(p phase) int {
			c.setPhase(p)
			time.Sleep(time.Hour)
			return c.Stats().Addresses
		}
		if n := addresses(down); n != 1 {
			t.Errorf("%d addresses after an hour without discovery, want 1", n)
		}
		if n := addresses(up); n != 0 {
			t.Errorf("%d addresses after an idle hour, want 0", n)
		}
		cancel()
		<-done
	})
}
