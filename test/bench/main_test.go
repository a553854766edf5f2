// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHelpAndList(t *testing.T) {
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, &out, &errs); !errors.Is(err, flag.ErrHelp) ||
		!strings.Contains(out.String(), "-quick") || errs.Len() > 0 {
		t.Errorf("--help: %v\n%s%s", err, &out, &errs)
	}
	out.Reset()
	source := filepath.Join(t.TempDir(), "test", "bench")
	if err := run(t.Context(), []string{"-list", "-source", source}, &out, &errs); err != nil ||
		!strings.Contains(out.String(), "bench.grpc.c8m10.cpu_vs_haproxy") || !strings.Contains(out.String(), "<= 0.38 ratio") {
		t.Errorf("-list: %v\n%s", err, &out)
	}
}

func TestBadFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-reps 0":     "reps: 0 (allowed: 1 or more)",
		"-only (":     "missing closing )",
		"now":         `unexpected argument "now"`,
		"-no-such":    "no-such",
		"-write-docs": "run the benchmark first",
	} {
		var out, errs bytes.Buffer
		source := filepath.Join(t.TempDir(), "test", "bench")
		all := append([]string{"-source", source}, strings.Fields(args)...)
		if err := run(t.Context(), all, &out, &errs); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("bench %s: %v, want %q", args, err, want)
		}
	}
}

// TestPartsDontReplaceTheWhole: results of a quick run have a file of their own.
func TestPartsDontReplaceTheWhole(t *testing.T) {
	for args, want := range map[string]string{"": "bench.json", "-quick": "bench-partial.json", "-only x": "bench-partial.json", "-targets x": "bench-partial.json"} {
		source := filepath.Join(t.TempDir(), "test", "bench")
		s, err := parse(append([]string{"-source", source}, strings.Fields(args)...), os.Stdout, os.Stderr)
		if err != nil || filepath.Base(s.json) != want {
			t.Errorf("bench %s writes %s, %v, want %s", args, s.json, err, want)
		}
	}
}
