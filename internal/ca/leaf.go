// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"cmp"
	"context"
	"crypto/tls"
	"slices"
	"sync/atomic"
	"time"
)

// retryRenewal is the pause after a renewal that went wrong. A third of the
// leaf's life remains then, so there is time for many.
const retryRenewal = time.Minute

// Leaf is a server certificate that renews itself. It lives in memory alone:
// every replica has its own, so there is nothing to coordinate.
type Leaf struct {
	authority *Authority                           // of Run alone, once it runs
	newest    func(ctx context.Context) *Authority // nil, or what Follow was given
	life      time.Duration
	dnsNames  []string
	current   atomic.Pointer[tls.Certificate]
}

// NewLeaf issues the first certificate for the names at once.
func NewLeaf(a *Authority, life time.Duration, dnsNames ...string) (*Leaf, error) {
	l := &Leaf{authority: a, life: life, dnsNames: slices.Clone(dnsNames)}
	if err := l.renew(time.Now()); err != nil {
		return nil, err
	}
	return l, nil
}

// Follow has each renewal issue from the authority that newest returns, or from
// the one before when that is nil. A replaced authority stays valid for longer
// than a leaf lives (RenewBefore), so nothing is gained by looking more often. It
// is to be called before Run.
func (l *Leaf) Follow(newest func(ctx context.Context) *Authority) { l.newest = newest }

// GetCertificate is for tls.Config: new handshakes get the newest certificate.
func (l *Leaf) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return l.current.Load(), nil
}

// Run renews the certificate at two thirds of its life until ctx ends. It
// returns an error only when the certificate in use has expired and can't be
// renewed, since nobody could connect from then on.
func (l *Leaf) Run(ctx context.Context) error {
	timer := time.NewTimer(l.untilRenewal(time.Now()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-timer.C:
			if l.newest != nil {
				l.authority = cmp.Or(l.newest(ctx), l.authority)
			}
			err := l.renew(now)
			if err != nil && now.After(l.current.Load().Leaf.NotAfter) {
				return err
			}
			timer.Reset(max(l.untilRenewal(now), l.pauseAfter(err)))
		}
	}
}

func (l *Leaf) renew(now time.Time) error {
	cert, err := l.authority.Issue(now, l.life, l.dnsNames...)
	if err != nil {
		return err
	}
	l.current.Store(&cert)
	return nil
}

// untilRenewal counts from the true end of the certificate: the authority may
// have cut it short.
func (l *Leaf) untilRenewal(now time.Time) time.Duration {
	end := l.current.Load().Leaf.NotAfter
	return max(0, end.Add(-l.life/3).Sub(now))
}

// pauseAfter keeps Run from spinning, both on errors and when the authority
// itself is about to expire and each new leaf lives for a moment only.
func (l *Leaf) pauseAfter(err error) time.Duration {
	if err != nil {
		return retryRenewal
	}
	return min(retryRenewal, l.life/10)
}
