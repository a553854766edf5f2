// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/shuntmesh/shunt/discovery/auth"
)

// reviewer knows one good token.
type reviewer struct {
	reviews int
	err     error
	block   bool // until ctx ends
}

func (r *reviewer) Review(ctx context.Context, token string) (string, error) {
	r.reviews++
	if r.block {
		<-ctx.Done()
		return "", ctx.Err()
	}
	if r.err != nil {
		return "", r.err
	}
	if token != "good" {
		return "", fmt.Errorf("%w: no such token", auth.ErrRejected)
	}
	return "someone", nil
}

type stream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s stream) Context() context.Context { return s.ctx }

// open says what a stream with these authorization headers meets with.
func open(a *auth.Authenticator, headers ...string) error {
	md := metadata.MD{}
	md.Append("authorization", headers...)
	ctx := metadata.NewIncomingContext(context.Background(), md)
	return a.Stream(nil, stream{ctx: ctx}, nil, func(any, grpc.ServerStream) error { return nil })
}

func TestStream(t *testing.T) {
	tests := []struct {
		name     string
		headers  []string
		reviewer reviewer
		code     codes.Code
		text     string
		reason   string
	}{
		{name: "good", headers: []string{"Bearer good"}, code: codes.OK},
		{name: "the scheme has no case", headers: []string{"bearer good"}, code: codes.OK},
		{name: "bad", headers: []string{"Bearer bad"}, code: codes.Unauthenticated, text: "audience shunt-discovery", reason: "rejected"},
		{name: "none", code: codes.Unauthenticated, text: "0 authorization headers", reason: "no_token"},
		{name: "two", headers: []string{"Bearer good", "Bearer good"}, code: codes.Unauthenticated, text: "2 authorization headers", reason: "no_token"},
		{name: "basic", headers: []string{"Basic good"}, code: codes.Unauthenticated, text: "not of the form", reason: "no_token"},
		{name: "empty", headers: []string{"Bearer "}, code: codes.Unauthenticated, text: "not of the form", reason: "no_token"},
		{name: "huge", headers: []string{"Bearer " + strings.Repeat("x", 20_000)}, code: codes.Unauthenticated, text: "20000 bytes", reason: "no_token"},
		{name: "API server away", headers: []string{"Bearer good"}, reviewer: reviewer{err: errors.New("secret detail")}, code: codes.Unavailable, text: "is the API server away?", reason: "unavailable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var reason string
			a := auth.New(&tt.reviewer, slog.New(slog.DiscardHandler), func(r string) { reason = r })
			err := open(a, tt.headers...)
			if status.Code(err) != tt.code || !strings.Contains(fmt.Sprint(err), tt.text) {
				t.Errorf("%v, want %v with %q", err, tt.code, tt.text)
			}
			if strings.Contains(fmt.Sprint(err), "secret detail") {
				t.Error("the client is told what is none of its business")
			}
			if reason != tt.reason {
				t.Errorf("counted as %q, want %q", reason, tt.reason)
			}
		})
	}
}

func TestVerdictIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reviewer{}
		a := auth.New(r, slog.New(slog.DiscardHandler), nil)
		expect := func(what string, want int) {
			t.Helper()
			if r.reviews != want {
				t.Errorf("%s: %d reviews, want %d", what, r.reviews, want)
			}
		}
		for range 3 {
			if err := open(a, "Bearer good"); err != nil {
				t.Fatal(err)
			}
		}
		expect("a good token three times", 1)
		for range 2 {
			if err := open(a, "Bearer bad"); err == nil {
				t.Fatal("a bad token was let in")
			}
		}
		expect("a bad token twice more", 3)
		time.Sleep(61 * time.Second)
		if err := open(a, "Bearer good"); err != nil {
			t.Fatal(err)
		}
		expect("the good token a minute later", 4)
	})
}

func TestSlowReviews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := auth.New(&reviewer{block: true}, slog.New(slog.DiscardHandler), nil)
		begin := time.Now()
		if err := open(a, "Bearer good"); status.Code(err) != codes.Unavailable {
			t.Errorf("%v, want Unavailable", err)
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("waited %v, want 5s", took)
		}
	})
}
