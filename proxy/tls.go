// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/shuntmesh/shunt/proxy/attempt"
	"github.com/shuntmesh/shunt/proxy/detect"
	"github.com/shuntmesh/shunt/proxy/exchange"
	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/sniff"
	"github.com/shuntmesh/shunt/proxy/stats"
	"github.com/shuntmesh/shunt/proxy/transport"
)

// TLSMode says what inbound does with connections that begin with a TLS
// handshake.
type TLSMode string

// The modes.
const (
	TLSOff        TLSMode = "off"        // they are the application's: passed on
	TLSPermissive TLSMode = "permissive" // they are ended here; plaintext is served too
	TLSStrict     TLSMode = "strict"     // they are ended here; plaintext is refused
)

// TLS is how HTTP is served and sent over TLS. Who is let in, and who is asked
// for what, is not decided here.
type TLS struct {
	Files transport.Files
	// Inbound needs a certificate.
	Inbound TLSMode
	// Clients says what inbound asks of clients.
	Clients transport.ClientCertificates
	// OutboundServerName makes outbound speak TLS to the endpoints of services:
	// their certificates must be for this name. "" is plaintext.
	OutboundServerName string
}

// reloadInterval is how soon a replaced certificate is in use.
const reloadInterval = 10 * time.Second

// security is the TLS of a running proxy; nil is none.
type security struct {
	certificates *transport.Certificates
	inbound      *transport.Handshaker // nil: not ended here
	outbound     *transport.Handshaker
	log          func(string, ...any)
}

// newSecurity loads the files. It returns nil when no TLS is wanted.
func newSecurity(o *Options, turn func(func()) bool) (*security, error) {
	t := o.TLS
	if t.Inbound == TLSOff && t.OutboundServerName == "" {
		return nil, nil //nolint:nilnil // no TLS is not an error, and nothing to hold
	}
	certificates, err := transport.Load(t.Files)
	if err != nil {
		return nil, err
	}
	o.Stats.Gauge("certificate_expires_timestamp_seconds", func() float64 {
		if at := certificates.Expires(); !at.IsZero() {
			return float64(at.Unix())
		}
		return 0
	})
	s := &security{certificates: certificates, log: o.Log.Warn}
	s.outbound = newHandshaker(o, turn, stats.Outbound, nil)
	if t.Inbound == TLSOff {
		return s, nil
	}
	config, err := certificates.Server(transport.ServerOptions{Clients: t.Clients})
	if err != nil {
		return nil, err
	}
	s.inbound = newHandshaker(o, turn, stats.Inbound, config)
	return s, nil
}

func newHandshaker(o *Options, turn func(func()) bool, d stats.Direction, server *tls.Config) *transport.Handshaker {
	return transport.NewHandshaker(transport.Options{
		Turn:     turn,
		Server:   server,
		HalfOpen: o.MaxHandshakes,
		Deadline: o.HandshakeTimeout,
		Refused:  func() { o.Stats.LimitHit(d, stats.LimitHandshakes) },
	})
}

// handshakeFailed says why there is no TLS.
func (s *side) handshakeFailed(level slog.Level, err error) {
	if errors.Is(err, transport.ErrDeadline) {
		s.stats.LimitHit(s.direction, stats.LimitHandshake)
	}
	s.options.Log.Log(context.Background(), level, "handshake failed", "direction", s.direction, "error", err)
}

// run returns when ctx has ended and no handshake is left.
func (s *security) run(ctx context.Context, goDo func(func())) {
	for _, h := range []*transport.Handshaker{s.inbound, s.outbound} {
		if h != nil {
			goDo(func() { _ = h.Run(ctx) })
		}
	}
	goDo(func() {
		_ = s.certificates.Watch(ctx, reloadInterval, func(err error) {
			if err != nil {
				s.log("certificate is kept: the new files can't be used", "error", err)
			}
		})
	})
}

// endTLS ends a client's TLS here.
func (s *side) endTLS(c accepted, dst netip.AddrPort, d attempt.Dispatcher, found detect.Result) {
	giveUp := func() {
		if found.Upstream != nil {
			_ = found.Upstream.Close()
		}
		c.release()
	}
	if !s.security.inbound.Server(c.conn, found.Client, func(r transport.Result) {
		if r.Err != nil {
			s.stats.Error(s.direction, reason.TLSFailed)
			s.handshakeFailed(slog.LevelDebug, r.Err)
			giveUp()
			return
		}
		found.Protocol, found.Client = sniff.HTTP1, r.Pending
		if r.Protocol == transport.HTTP2 {
			found.Protocol = sniff.HTTP2
		}
		c.conn = r.Conn
		s.serveHTTP(c, dst, d, found, r.Transport)
	}) {
		giveUp()
	}
}

// secure makes connections to endpoints speak TLS.
func (s *side) secure(c *net.TCPConn, protocol string, done func(exchange.Secured)) {
	config := s.security.certificates.Client(transport.ClientOptions{
		ServerName: s.options.TLS.OutboundServerName,
		Protocols:  []string{protocol},
	})
	if !s.security.outbound.Client(c, config, func(r transport.Result) {
		if r.Err != nil {
			s.handshakeFailed(slog.LevelWarn, r.Err)
			done(exchange.Secured{})
			return
		}
		done(exchange.Secured{Conn: r.Conn, Transport: r.Transport, Pending: r.Pending})
	}) {
		done(exchange.Secured{})
	}
}

func (m TLSMode) validate() error {
	switch m {
	case TLSOff, TLSPermissive, TLSStrict:
		return nil
	}
	return fmt.Errorf("option inbound-tls: %q (allowed: off, permissive, strict)", string(m))
}
