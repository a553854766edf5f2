// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/test/bench/scenario"
)

var update = flag.Bool("update", false, "write golden files")

func sampleResult() *Result {
	r := &Result{
		Date: time.Date(2026, 11, 21, 16, 0, 0, 0, time.UTC), Kernel: "6.18.44", CPU: "Some CPU", CPUs: 2, Reps: 3,
		Versions: map[string]string{"nginx": "1.22.1", "haproxy": "2.6.12"},
		Scenarios: []Scenario{
			{
				Name: "grpc.c8m10", About: "gRPC unary, 8 connections of 10 calls, saturated",
				Targets: []string{scenario.Direct, scenario.HAProxy, scenario.Nginx, scenario.Envoy, scenario.Shunt},
				Values: scenario.Values{
					scenario.Direct:  {scenario.Rate: {50_000, 51_000, 49_000}},
					scenario.HAProxy: {scenario.CPU: {7.7, 8, 7.5}, scenario.Rate: {25_000, 26_000, 24_000}},
					scenario.Nginx:   {scenario.CPU: {18.7, 19, 18}, scenario.Rate: {15_000, 15_100, 14_000}},
					scenario.Shunt:   {scenario.CPU: {2.31, 2.8, 2.25}, scenario.Rate: {40_000, 41_000, 39_000}},
				},
			},
			{
				Name: "memory.idle", About: "the product's proxy, connected to discovery", Targets: []string{scenario.Shunt},
				Values: scenario.Values{scenario.Shunt: {scenario.RSS: {21, 22, 20.5}, scenario.Private: {1.7, 1.7, 1.7}}},
			},
		},
		Left: []Left{{What: "tls.c8m10", Reason: "no option yet"}},
	}
	r.Judge()
	return r
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, got, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test ./report -update writes it):\n%s", name, got)
	}
}

func TestGolden(t *testing.T) {
	r := sampleResult()
	var out bytes.Buffer
	r.Write(&out)
	golden(t, "report.txt", out.Bytes())
	golden(t, "document.md", r.document())
	golden(t, "plot.svg", r.plot())
}

// TestFigureLinesAreLast: whoever reads them needs nothing else.
func TestFigureLinesAreLast(t *testing.T) {
	var out bytes.Buffer
	sampleResult().Write(&out)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	figures := lines[len(lines)-4:]
	want := []string{
		"FIGURE bench.grpc.c8m10.cpu_vs_haproxy 0.3 ratio", "FIGURE bench.grpc.c8m10.cpu_vs_nginx 0.125 ratio",
		"FIGURE bench.rss_idle_mib 21 MiB", "FIGURE bench.private_idle_mib 1.7 MiB",
	}
	for i := range want {
		if figures[i] != want[i] {
			t.Errorf("line %d is %q, want %q", i, figures[i], want[i])
		}
	}
}

func TestMissed(t *testing.T) {
	missed := strings.Join(sampleResult().Missed(), " ")
	if want := "bench.grpc.c8m10.cpu_vs_envoy bench.rss_idle_mib"; missed != want {
		t.Errorf("missed are %q, want %q (one without a value, one above its goal)", missed, want)
	}
}

func TestSaveAndLoad(t *testing.T) {
	r, path := sampleResult(), filepath.Join(t.TempDir(), "r.json")
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	back, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var a, b bytes.Buffer
	r.Write(&a)
	back.Write(&b)
	if a.String() != b.String() {
		t.Errorf("it comes back as\n%s", &b)
	}
	if _, err := Load(path + "x"); err == nil || !strings.Contains(err.Error(), "run the benchmark first") {
		t.Errorf("Load of nothing: %v", err)
	}
}

// TestWriteDocs: what people wrote stays, what was written before goes.
func TestWriteDocs(t *testing.T) {
	dir, r := t.TempDir(), sampleResult()
	path := filepath.Join(dir, "performance.md")
	if err := r.WriteDocs(dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	edited := "Before.\n" + strings.Replace(string(b), "2.31", "old", 1) + "After.\n"
	if err := os.WriteFile(path, []byte(edited), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteDocs(dir); err != nil {
		t.Fatal(err)
	}
	if b, err = os.ReadFile(path); err != nil || strings.Contains(string(b), "old") ||
		!strings.HasPrefix(string(b), "Before.\n") || !strings.HasSuffix(string(b), "After.\n") || !strings.Contains(string(b), "2.31") {
		t.Errorf("second time: %v\n%s", err, b)
	}
	if err := os.WriteFile(path, []byte("no marks"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteDocs(dir); err == nil {
		t.Error("a document without marks is overwritten")
	}
	r.Quick = true
	if err := r.WriteDocs(t.TempDir()); err == nil {
		t.Error("figures of a quick run get into the documentation")
	}
}

func TestPlotIsXML(t *testing.T) {
	r := sampleResult()
	r.Scenarios[0].About = `<"&>`
	d := xml.NewDecoder(bytes.NewReader(r.plot()))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.0456: "0.046", 0.999: "0.999", 7.666: "7.67", 23.04: "23.0", 451.7: "452", 60_000: "60000", -3.5: "-3.50"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
}
