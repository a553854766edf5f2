// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrNotFound says that a Store holds no authority yet.
	ErrNotFound = errors.New("no CA stored")
	// ErrExists says that another replica has stored an authority first.
	ErrExists = errors.New("a CA is stored already")
)

// Store keeps the authority where all replicas of the control plane find it.
type Store interface {
	// Load returns what Create stored; ErrNotFound when nothing was.
	Load(ctx context.Context) (certPEM, keyPEM []byte, err error)
	// Create stores, and never overwrites; ErrExists when something is
	// there.
	Create(ctx context.Context, certPEM, keyPEM []byte) error
	// Replace stores in the place of what has the certificate oldPEM;
	// ErrExists when something else is there by now.
	Replace(ctx context.Context, oldPEM, certPEM, keyPEM []byte) error
}

// LoadOrCreate returns the stored authority, and makes one when there is none.
// Replicas may race: whichever creates first wins, the others load its result.
// An authority that can't be used is never replaced in silence, since every
// injected pod trusts the old one: the error says what to do.
func LoadOrCreate(ctx context.Context, s Store, now time.Time) (*Authority, error) {
	a, err := load(ctx, s, now)
	if !errors.Is(err, ErrNotFound) {
		return a, err
	}
	if a, err = New(now); err != nil {
		return nil, err
	}
	keyPEM, err := a.KeyPEM()
	if err != nil {
		return nil, err
	}
	err = s.Create(ctx, a.StoredPEM(), keyPEM)
	if errors.Is(err, ErrExists) {
		return load(ctx, s, now)
	}
	if err != nil {
		return nil, fmt.Errorf("store CA: %w", err)
	}
	return a, nil
}

// The advice for a CA that is of no use any more; one that nears its end is
// replaced without anybody's help (Renew).
const advice = "(to make a new one: delete it, restart the control plane, then restart the injected pods)"

func load(ctx context.Context, s Store, now time.Time) (*Authority, error) {
	certPEM, keyPEM, err := s.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load CA: %w", err)
	}
	a, err := Parse(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("use stored CA: %w %s", err, advice)
	}
	if err := a.validAt(now); err != nil {
		return nil, fmt.Errorf("use stored CA: %w %s", err, advice)
	}
	return a, nil
}
