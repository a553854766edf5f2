// SPDX-License-Identifier: Apache-2.0

package load

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/test/bench/scenario"
)

func TestParseH2LoadLog(t *testing.T) {
	got, err := parseH2LoadLog(strings.NewReader("1795271193292470\t200\t1636\n1795271193292464\t200\t9\n"))
	if err != nil || len(got) != 2 || got[0] != 1636*time.Microsecond || got[1] != 9*time.Microsecond {
		t.Errorf("parseH2LoadLog = %v, %v", got, err)
	}
	for _, bad := range []string{"1 200\n", "1 200 x\n"} {
		if got, err := parseH2LoadLog(strings.NewReader(bad)); err == nil {
			t.Errorf("parseH2LoadLog(%q) = %v, want an error", bad, got)
		}
	}
}

func TestPercentilesOfOutcome(t *testing.T) {
	var all []time.Duration
	for i := 100; i > 0; i-- {
		all = append(all, time.Duration(i))
	}
	var o Outcome
	o.setLatency(all)
	if o.P50 != 50 || o.P99 != 99 {
		t.Errorf("p50 %d and p99 %d of 1..100", o.P50, o.P99)
	}
}

// TestRateIsPerClient: h2load's --rps is per connection.
func TestRateIsPerClient(t *testing.T) {
	l := scenario.Load{Connections: 10, Streams: 100, Rate: 2000, Requests: 8000}
	args := strings.Join(h2loadArgs(Aim{}, l, "body", "log"), " ")
	if !strings.Contains(args, "--rps=200 ") || !strings.Contains(args, "-n8000") || !strings.Contains(args, "-ph2c") {
		t.Errorf("arguments %s", args)
	}
	l.Rate = 0
	if args := strings.Join(h2loadArgs(Aim{TLS: true}, l, "body", "log"), " "); strings.Contains(args, "rps") || strings.Contains(args, "h2c") || !strings.Contains(args, "https://") {
		t.Errorf("arguments with TLS %s", args)
	}
}

func TestMessage(t *testing.T) {
	m := Message(300)
	if len(m) != 305 || m[0] != 0 || binary.BigEndian.Uint32(m[1:]) != 300 || m[5] != 'a' || m[5+23] != 'a' || m[6] != 'b' {
		t.Errorf("message of %d bytes: %v...", len(m), m[:8])
	}
}
