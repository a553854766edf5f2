// SPDX-License-Identifier: Apache-2.0

//go:build netns

package cni_test

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/internal/figure"
)

// binaryEnv names the static binary, where a script has built it as a user who
// can.
const binaryEnv = "SHUNT_CNI_BINARY"

// TestAddTime measures how long the product's binary keeps a pod's start waiting,
// from its start to its end, pod after pod. It bounds nothing but the absurd: a
// machine that does other things too is no measure.
func TestAddTime(t *testing.T) {
	const pods, absurd = 200, time.Second
	binary := pluginBinary(t)
	mustBeStatic(t, binary)
	dir, programs := t.TempDir(), bpffs(t)
	for _, tt := range []struct{ name, example, backend string }{
		{"not_injected", "not-injected", "nftables"},
		{"nftables", "injected-1.0.0", "nftables"},
		{"iptables", "injected-1.0.0", "iptables"},
		{"ebpf", "injected-1.0.0", "ebpf"},
	} {
		stdin := withEntry(t, tt.example, func(c map[string]any) {
			c["backend"], c["bpffs"], c["socket"], c["log"] = tt.backend, programs, filepath.Join(dir, "no-agent.sock"), filepath.Join(dir, "cni.log")
		})
		var wall, cpu [pods]time.Duration
		for i := range pods {
			pod := newPod(t, false)
			wall[i], cpu[i] = timed(t, binary, stdin, "CNI_COMMAND=ADD", "CNI_NETNS="+pod)
		}
		log, err := os.ReadFile(filepath.Join(dir, "cni.log"))
		if by := "pod is captured by " + tt.backend + `"`; tt.name == tt.backend && (err != nil || strings.Count(string(log), by) != pods) {
			t.Errorf("%d of %d lines say %q, %v", strings.Count(string(log), by), pods, by, err)
		}
		slices.Sort(wall[:])
		slices.Sort(cpu[:])
		figure.Publish(t, "cni.add_ms_p50."+tt.name, ms(wall[pods/2]), "ms")
		figure.Publish(t, "cni.add_ms_p99."+tt.name, ms(wall[pods*99/100]), "ms")
		figure.Publish(t, "cni.add_cpu_ms_p50."+tt.name, ms(cpu[pods/2]), "ms")
		if wall[pods/2] > absurd {
			t.Errorf("median of %d ADDs, %s: %v", pods, tt.name, wall[pods/2])
		}
	}
	var starts [pods]time.Duration
	for i := range pods {
		starts[i], _ = timed(t, binary, "", "CNI_COMMAND=VERSION")
	}
	slices.Sort(starts[:])
	figure.Publish(t, "cni.start_ms_p50", ms(starts[pods/2]), "ms")
	figure.Publish(t, "cni.start_ms_p99", ms(starts[pods*99/100]), "ms") // far from the median where the machine does other things too
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the binary has %.1f MB", float64(info.Size())/1e6)
}

// timed returns how long the plugin took, and what it and its programs took of
// the processors.
func timed(t *testing.T, binary, stdin string, env ...string) (wall, cpu time.Duration) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	cmd.Env = append([]string{"CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_PATH=/opt/cni/bin", "CNI_ARGS=" + podArgs, "PATH=" + os.Getenv("PATH")}, env...)
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	return time.Since(begin), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000) }

// pluginBinary is the product's.
func pluginBinary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv(binaryEnv); path != "" {
		return path
	}
	path := filepath.Join(t.TempDir(), "cni")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "../cmd/cni")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build cmd/cni: %v: %s", err, out)
	}
	return path
}

// mustBeStatic: it runs in the node's root file system, of which nothing is known.
func mustBeStatic(t *testing.T, path string) {
	t.Helper()
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if libraries, err := file.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("%s needs libraries %v, %v", path, libraries, err)
	}
}
