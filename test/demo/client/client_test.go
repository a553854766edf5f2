// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shuntmesh/shunt/test/demo/client"
	"github.com/shuntmesh/shunt/test/demo/server"
	"github.com/shuntmesh/shunt/test/demo/tally"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newListener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// run starts the client against addr for d and returns its lines.
func run(t *testing.T, addr string, rate float64, d time.Duration) []tally.Line {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var out bytes.Buffer
	err := client.Run(ctx, client.Options{Target: addr, Callers: 4, Rate: rate, Timeout: time.Second, Out: &out})
	if err != nil {
		t.Fatal(err)
	}
	var lines []tally.Line
	for text := range bytes.Lines(out.Bytes()) {
		l, err := tally.ParseLine(text)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	return lines
}

func TestClientCountsWhoAnswers(t *testing.T) {
	l := newListener(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		if err := server.Run(ctx, server.Options{Listener: l, Name: "one", Log: io.Discard}); err != nil {
			t.Errorf("server: %v", err)
		}
	})
	lines := run(t, l.Addr().String(), 500, 700*time.Millisecond)
	counts := tally.Sum(lines)
	if _, failed := tally.Failures(lines); failed != 0 || len(counts) != 1 || counts["one"] < 100 || counts["one"] > 400 {
		t.Errorf("counts = %v with %d failed, want some 300 by one server", counts, failed)
	}
	for i, line := range lines {
		if line.Seq != i+1 || line.Connections != 1 {
			t.Errorf("line %d: seq %d, %d connections", i+1, line.Seq, line.Connections)
		}
	}
}

func TestClientTellsFailures(t *testing.T) {
	l := newListener(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		if err := server.Run(ctx, server.Options{Listener: l, Name: "one", Log: io.Discard}); err != nil {
			t.Errorf("server: %v", err)
		}
	})
	wg.Go(func() {
		time.Sleep(250 * time.Millisecond)
		cancel()
	})
	lines := run(t, l.Addr().String(), 200, 600*time.Millisecond)
	told, total := tally.Failures(lines)
	if total == 0 || told[0].Code != "Unavailable" || told[0].End.Before(told[0].Start) {
		t.Errorf("failures = %v, want Unavailable ones once the server is gone", told)
	}
}

func TestServerThatExitsAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var log bytes.Buffer
	exited := 0
	cancel()
	err := server.Run(ctx, server.Options{Listener: newListener(t), Name: "one", Exit: func() { exited++ }, Log: &log})
	if err != nil {
		t.Logf("Run: %v", err) // stopped before it served
	}
	e, ok := tally.ParseExit(log.Bytes())
	if exited != 1 || !ok || e.Server != "one" {
		t.Errorf("exited %d times, log %q", exited, log.String())
	}
}
