// SPDX-License-Identifier: Apache-2.0

// Package auth lets only proxies of this cluster open a stream: each shows the
// projected token of its pod, which a Reviewer judges. The verdict does not
// change what a proxy is told, only whether it is.
package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	// cacheFor is how long a good token needs no second review. A pod that
	// was deleted can open streams for that long.
	cacheFor = time.Minute
	// cacheSize bounds the memory: 64 bytes an entry. When it is full,
	// reviews are simply repeated.
	cacheSize = 20_000
	// maxToken bounds what is sent to the API server. Projected tokens are
	// about 1 KiB.
	maxToken = 16 << 10
	// reviewTimeout and maxReviews keep a slow API server from holding
	// thousands of streams that wait for it.
	reviewTimeout = 5 * time.Second
	maxReviews    = 64
)

// ErrRejected says that a token is no good. Any other error of a Reviewer says
// that it could not find out.
var ErrRejected = errors.New("token rejected")

// Reviewer judges tokens. It is safe for concurrent use.
type Reviewer interface {
	// Review returns who the token belongs to; ErrRejected when it is no
	// good.
	Review(ctx context.Context, token string) (user string, err error)
}

// Authenticator checks the token of every new stream. Streams that are open
// live on when the API server is away.
type Authenticator struct {
	reviewer Reviewer
	log      *slog.Logger
	failed   func(reason string)
	reviews  chan struct{} // one slot per review under way

	mu   sync.Mutex
	good map[[sha256.Size]byte]time.Time // until when; by hash, so that no token is kept
}

// New returns an authenticator. failed is called with a word for each stream
// that is refused; it may be nil.
func New(r Reviewer, log *slog.Logger, failed func(reason string)) *Authenticator {
	if failed == nil {
		failed = func(string) {}
	}
	return &Authenticator{
		reviewer: r,
		log:      log,
		failed:   failed,
		reviews:  make(chan struct{}, maxReviews),
		good:     map[[sha256.Size]byte]time.Time{},
	}
}

// Stream is a gRPC interceptor.
func (a *Authenticator) Stream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := a.check(ss.Context()); err != nil {
		return err
	}
	return next(srv, ss)
}

func (a *Authenticator) check(ctx context.Context) error {
	token, err := bearer(ctx)
	if err != nil {
		a.failed("no_token")
		return err
	}
	hash := sha256.Sum256([]byte(token))
	if a.known(hash, time.Now()) {
		return nil
	}
	user, err := a.review(ctx, token)
	switch {
	case errors.Is(err, ErrRejected):
		a.failed("rejected")
		a.log.Warn("refuse stream", "err", err)
		return status.Errorf(codes.Unauthenticated, "%v (is it a projected service account token with audience shunt-discovery, and has it not expired?)", err)
	case err != nil:
		a.failed("unavailable")
		a.log.Warn("review token", "err", err)
		return status.Error(codes.Unavailable, "the token can't be reviewed at the moment (is the API server away?)")
	}
	a.remember(hash, time.Now())
	a.log.Debug("accept stream", "user", user)
	return nil
}

func (a *Authenticator) review(ctx context.Context, token string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	select {
	case a.reviews <- struct{}{}:
		defer func() { <-a.reviews }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return a.reviewer.Review(ctx, token)
}

func (a *Authenticator) known(hash [sha256.Size]byte, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return now.Before(a.good[hash])
}

func (a *Authenticator) remember(hash [sha256.Size]byte, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.good) >= cacheSize {
		for h, until := range a.good {
			if !now.Before(until) {
				delete(a.good, h)
			}
		}
	}
	if len(a.good) < cacheSize {
		a.good[hash] = now.Add(cacheFor)
	}
}

// bearer returns the token of RFC 6750 section 2.1. The scheme is matched
// without regard to case (RFC 9110 section 11.1).
func bearer(ctx context.Context) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get("authorization")
	if len(values) != 1 {
		return "", status.Errorf(codes.Unauthenticated, "%d authorization headers (send one: Bearer <service account token>)", len(values))
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", status.Error(codes.Unauthenticated, "authorization is not of the form: Bearer <service account token>")
	}
	if len(token) > maxToken {
		return "", status.Errorf(codes.Unauthenticated, "token has %d bytes (at most %d are allowed)", len(token), maxToken)
	}
	return token, nil
}
