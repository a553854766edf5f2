// SPDX-License-Identifier: Apache-2.0

package operate_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shuntmesh/shunt/webhook/operate"
)

func TestSidecarsByVersion(t *testing.T) {
	tests := []struct {
		answer        string
		native, ready bool
	}{
		{`{"major":"1","minor":"34"}`, true, true},
		{`{"major":"1","minor":"29+"}`, true, true},
		{`{"major":"1","minor":"28+"}`, false, true},
		{`{"major":"2","minor":"0"}`, true, true},
		{`{"major":"1","minor":""}`, true, false},
		{`{"major":"one","minor":"29"}`, true, false},
		{`not found`, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.answer, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := startSidecars(t, func() (string, error) { return tt.answer, nil })
				synctest.Wait()
				if got := s.Native(); got != tt.native {
					t.Errorf("native %v, want %v", got, tt.native)
				}
				if err := s.Ready(); (err == nil) != tt.ready {
					t.Errorf("ready: %v, want %v", err, tt.ready)
				}
			})
		})
	}
}

func TestSidecarsFollowAnUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var minor atomic.Int32
		var away atomic.Bool
		minor.Store(28)
		away.Store(true)
		s := startSidecars(t, func() (string, error) {
			if away.Load() {
				return "", errors.New("connection refused")
			}
			return fmt.Sprintf(`{"major":"1","minor":"%d"}`, minor.Load()), nil
		})
		pass(time.Minute)
		if s.Ready() == nil {
			t.Error("ready without an answer")
		}
		away.Store(false)
		pass(10 * time.Second)
		if s.Native() || s.Ready() != nil {
			t.Errorf("1.28: native %v, ready %v", s.Native(), s.Ready())
		}
		minor.Store(29)
		pass(11 * time.Minute)
		if !s.Native() {
			t.Error("1.29: not native")
		}
		away.Store(true)
		pass(time.Hour)
		if !s.Native() || s.Ready() != nil {
			t.Error("what was known is forgotten")
		}
	})
}

func startSidecars(t *testing.T, answer func() (string, error)) *operate.Sidecars {
	t.Helper()
	s := operate.NewSidecars(func(context.Context) ([]byte, error) {
		text, err := answer()
		return []byte(text), err
	}, slog.New(slog.DiscardHandler))
	go func() {
		if err := s.Run(t.Context()); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	return s
}
