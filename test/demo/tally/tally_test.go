// SPDX-License-Identifier: Apache-2.0

package tally_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/test/demo/tally"
)

func at(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }

func TestCounts(t *testing.T) {
	c := tally.Sum([]tally.Line{{Calls: map[string]int{"a": 60, "b": 20}}, {Calls: map[string]int{"a": 20}}, {}})
	if diff := cmp.Diff(tally.Counts{"a": 80, "b": 20}, c); diff != "" {
		t.Errorf("Sum (-want +got):\n%s", diff)
	}
	if c.Total() != 100 || c.MaxShare() != 0.8 || c.MaxOverFair(4) != 3.2 {
		t.Errorf("Total, MaxShare, MaxOverFair = %d, %v, %v", c.Total(), c.MaxShare(), c.MaxOverFair(4))
	}
	if !c.Reached([]string{"a", "b"}, 20) || c.Reached([]string{"a", "b"}, 21) || c.Reached([]string{"a", "c"}, 1) {
		t.Error("Reached is wrong")
	}
	if none := (tally.Counts{}); none.MaxShare() != 0 {
		t.Error("a share of nothing")
	}
}

// lines has one line every 100 ms; share returns b's part of 100 calls.
func lines(n int, share func(ms int) int) []tally.Line {
	var out []tally.Line
	for i := 1; i <= n; i++ {
		b := share(i * 100)
		out = append(out, tally.Line{Seq: i, End: at(i * 100), Calls: map[string]int{"a": 100 - b, "b": b}})
	}
	return out
}

func TestTimeToBalance(t *testing.T) {
	ready := map[string]time.Time{"a": at(0), "b": at(1000)}
	tests := []struct {
		name  string
		share func(ms int) int
		want  time.Duration
		ok    bool
	}{
		{"at once", func(ms int) int {
			if ms > 1000 {
				return 50
			}
			return 0
		}, 400 * time.Millisecond, true}, // four steps of 50 are 0.8 of five
		{"one second late", func(ms int) int {
			if ms > 2000 {
				return 50
			}
			return 0
		}, 1400 * time.Millisecond, true},
		{"just enough", func(int) int { return 40 }, 100 * time.Millisecond, true},
		{"never", func(int) int { return 39 }, 0, false},
	}
	for _, tt := range tests {
		got, ok := tally.TimeToBalance(lines(40, tt.share), ready, "b")
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s: %v, %v; want %v, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

// A server that became ready in the middle of a window does not make the share
// of the others smaller.
func TestTimeToBalanceCountsServersAtTheWindowsStart(t *testing.T) {
	ready := map[string]time.Time{"a": at(0), "b": at(1000), "c": at(9000)}
	if _, ok := tally.TimeToBalance(lines(40, func(int) int { return 39 }), ready, "b"); ok {
		t.Error("a server that is not ready yet lowers the bar")
	}
}

func TestExplain(t *testing.T) {
	exits := []tally.Exit{{Server: "a", At: at(1000)}, {Server: "b", At: at(1050)}}
	f := func(start, end int) tally.Failure { return tally.Failure{Start: at(start), End: at(end)} }
	tests := []struct {
		name            string
		failures        []tally.Failure
		callers         int
		inFlight, other int
	}{
		{"none", nil, 8, 0, 0},
		{"in flight", []tally.Failure{f(990, 1010)}, 8, 1, 0},
		{"failed before", []tally.Failure{f(900, 999)}, 8, 0, 1},
		{"began long after", []tally.Failure{f(1151, 1160)}, 8, 0, 1},
		{"more than can be in flight", []tally.Failure{f(990, 1060), f(990, 1060), f(990, 1060)}, 1, 2, 1},
	}
	for _, tt := range tests {
		inFlight, other := tally.Explain(tt.failures, exits, tt.callers)
		if inFlight != tt.inFlight || other != tt.other {
			t.Errorf("%s: %d in flight, %d other; want %d, %d", tt.name, inFlight, other, tt.inFlight, tt.other)
		}
	}
}

func TestFailures(t *testing.T) {
	told, total := tally.Failures([]tally.Line{{Failed: []tally.Failure{{Code: "Unavailable"}}, FailedMore: 3}, {}})
	if len(told) != 1 || total != 4 {
		t.Errorf("%d told, %d in all; want 1, 4", len(told), total)
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte(`{"seq":1,"end":"2026-01-02T03:04:05Z","calls":{"a":3},"connections":1}`))
	f.Add([]byte(`{"seq":0}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := tally.ParseLine(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(l)
		if err != nil {
			return // times beyond year 9999 can be read and not written
		}
		if _, err := tally.ParseLine(again); err != nil {
			t.Errorf("ParseLine(%s): %v, and it was read before", again, err)
		}
	})
}

func FuzzParseExit(f *testing.F) {
	f.Add([]byte(`{"server":"a","exit":"2026-01-02T03:04:05Z","in_flight":2}`))
	f.Add([]byte(`ready`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if e, ok := tally.ParseExit(text); ok && e.At.IsZero() {
			t.Error("an exit at no time")
		}
	})
}
