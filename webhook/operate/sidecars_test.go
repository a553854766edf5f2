// SPDX-License-Identifier: Apache-2.0

package operate_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
		minor, err := 28, errors.New("connection refused")
		s := startSidecars(t, func() (string, error) { return fmt.Sprintf(`{"major":"1","minor":"%d"}`, minor), err })
		pass(time.Minute)
		if s.Ready() == nil {
			t.Error("ready without an answer")
		}
		err = nil
		pass(10 * time.Second)
		if s.Native() || s.Ready() != nil {
			t.Errorf("1.28: native %v, ready %v", s.Native(), s.Ready())
		}
		minor = 29
		pass(11 * time.Minute)
		if !s.Native() {
			t.Error("1.29: not native")
		}
		err = errors.New("connection refused")
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
