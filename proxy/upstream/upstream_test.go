// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/upstream"
)

func TestDial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	open := l.Addr().(*net.TCPAddr).AddrPort()
	closed := netip.AddrPortFrom(open.Addr(), 1)
	for _, tt := range []struct {
		name   string
		source string
		to     netip.AddrPort
		want   reason.Reason
	}{
		{"open", "127.0.0.6", open, reason.None},
		{"closed", "127.0.0.6", closed, reason.ConnectRefused},
		{"no such source", "192.0.2.1", open, reason.SourceMissing},
	} {
		var done []reason.Reason
		d := upstream.Dialer{Timeout: time.Second, Source4: netip.MustParseAddr(tt.source), Done: func(r reason.Reason) { done = append(done, r) }}
		c, err := d.Dial(t.Context(), tt.to)
		if err == nil {
			if from := c.LocalAddr().(*net.TCPAddr).IP.String(); from != tt.source {
				t.Errorf("%s: dialled from %s", tt.name, from)
			}
			c.Close()
		}
		var failed *upstream.Error
		if got := errors.As(err, &failed); got != (tt.want != reason.None) || got && failed.Reason != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if len(done) != 1 || done[0] != tt.want {
			t.Errorf("%s: Done was told %q", tt.name, done)
		}
	}
}

// TestGivenUp: an attempt that the caller ended says nothing of the endpoint.
func TestGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := upstream.Dialer{Timeout: time.Second, Done: func(r reason.Reason) { t.Errorf("told %q", r) }}
	if _, err := d.Dial(ctx, netip.MustParseAddrPort("127.0.0.1:1")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
