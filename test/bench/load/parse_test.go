// SPDX-License-Identifier: Apache-2.0

package load_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/test/bench/load"
)

// golden are outputs that were recorded from the programs.
func golden(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParsers(t *testing.T) {
	for _, tt := range []struct {
		file  string
		parse func(string) (load.Outcome, error)
		want  load.Outcome
	}{
		{"h2load.txt", load.ParseH2Load, load.Outcome{Requests: 2000, Elapsed: 33 * time.Millisecond, Bytes: 210_000}},
		{"h2load-503.txt", load.ParseH2Load, load.Outcome{Failed: 20, Elapsed: 2 * time.Millisecond, Bytes: 3940}},
		{"h2load-refused.txt", load.ParseH2Load, load.Outcome{Failed: 10}},
		{"wrk.txt", load.ParseWrk, load.Outcome{
			Requests: 84_490, Elapsed: 1001 * time.Millisecond, P50: 238 * time.Microsecond, P99: 1360 * time.Microsecond,
		}},
		{"wrk-503.txt", load.ParseWrk, load.Outcome{
			Failed: 95_037, Elapsed: 1100 * time.Millisecond, P50: 30 * time.Microsecond, P99: 256 * time.Microsecond,
		}},
		{"iperf3.json", load.ParseIPerf3, load.Outcome{Requests: 1, Bytes: 2_802_319_360, Elapsed: 1001 * time.Millisecond}},
	} {
		got, err := tt.parse(golden(t, tt.file))
		got.Elapsed = got.Elapsed.Round(time.Millisecond)
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v, want %+v", tt.file, got, err, tt.want)
		}
	}
}

// TestParsersRefuse: half an output is no measurement.
func TestParsersRefuse(t *testing.T) {
	for file, parse := range map[string]func(string) (load.Outcome, error){
		"h2load.txt": load.ParseH2Load, "wrk.txt": load.ParseWrk, "iperf3.json": load.ParseIPerf3,
	} {
		text := golden(t, file)
		for _, bad := range []string{"", text[:len(text)/3], strings.ToUpper(text)} {
			if got, err := parse(bad); err == nil {
				t.Errorf("%s: %+v of %.40q", file, got, bad)
			}
		}
	}
	if _, err := load.ParseIPerf3(`{"error": "unable to connect to server: Connection refused"}`); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error of iperf3: %v", err)
	}
}
