// SPDX-License-Identifier: Apache-2.0

package measure_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/test/bench/measure"
)

func TestParseSchedstat(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"1234567890 55 12\n": 1234567890,
		"0 0 0":              0,
	} {
		if got, err := measure.ParseSchedstat(in); err != nil || got != want {
			t.Errorf("ParseSchedstat(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "1 2", "x 1 1", "-1 1 1", "1 2 3 4"} {
		if got, err := measure.ParseSchedstat(bad); err == nil {
			t.Errorf("ParseSchedstat(%q) = %v, want an error", bad, got)
		}
	}
}

const rollup = `00400000-7ffd1bd7d000 ---p 00000000 00:00 0                              [rollup]
Rss:               12264 kB
Pss:               10731 kB
Pss_Anon:           4100 kB
Private_Dirty:      4104 kB
Anonymous:          4100 kB
LazyFree:              0 kB
`

func TestParseRollup(t *testing.T) {
	got, err := measure.ParseRollup(strings.NewReader(rollup))
	if want := (measure.Memory{RSS: 12264 << 10, Anonymous: 4100 << 10}); err != nil || got != want {
		t.Errorf("ParseRollup = %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "Rss: 1 kB\n", "Rss: one kB\nAnonymous: 1 kB\n"} {
		if got, err := measure.ParseRollup(strings.NewReader(bad)); err == nil {
			t.Errorf("ParseRollup(%q) = %+v, want an error", bad, got)
		}
	}
}

// TestTree: a process counts with what it started.
func TestTree(t *testing.T) {
	child := exec.CommandContext(t.Context(), "sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	tree, err := measure.Tree(os.Getpid())
	if err != nil || !slices.Contains(tree, child.Process.Pid) || tree[0] != os.Getpid() {
		t.Errorf("Tree = %v, %v; want %d and %d", tree, err, os.Getpid(), child.Process.Pid)
	}
}

// TestCPUGrowsWithWork: what was burnt is what is counted.
func TestCPUGrowsWithWork(t *testing.T) {
	before, err := measure.CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < 50*time.Millisecond; {
		_ = strings.Repeat("work", 100)
	}
	after, err := measure.CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if grown := after - before; grown < 10*time.Millisecond || grown > 5*time.Second {
		t.Errorf("50 ms of work are %v of CPU", grown)
	}
	if m, err := measure.MemoryOf(os.Getpid()); err != nil || m.RSS < m.Anonymous || m.Anonymous < 100<<10 {
		t.Errorf("MemoryOf = %+v, %v", m, err)
	}
	if _, err := measure.CPU(1 << 30); err == nil {
		t.Error("a process that does not exist has CPU time")
	}
}
