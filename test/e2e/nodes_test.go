// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test cluster's program and state, see test/cluster/README.md.
const (
	clusterProgram = "../../bin/cluster"
	clusterState   = "/var/lib/shunt-cluster"
)

func nodes() []string { return []string{"n1", "n2"} }

func nodeAddress(node string) string { return "172.30.0.1" + strings.TrimPrefix(node, "n") }

// processFile tells of a machine's first process.
func processFile(node string) string { return filepath.Join(clusterState, node, "init.pid") }

// onNode is the path by which this process sees a file of a running node.
func onNode(t *testing.T, node, path string) string {
	t.Helper()
	text, err := os.ReadFile(processFile(node))
	if err != nil {
		t.Fatal(err)
	}
	var process struct{ PID int }
	if err := json.Unmarshal(text, &process); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("/proc/%d/root%s", process.PID, path)
}

func cluster(t *testing.T, args ...string) {
	t.Helper()
	if _, err := command(3*time.Minute, "", clusterProgram, args...); err != nil {
		t.Fatal(err)
	}
}

// processes returns the processes of a pod of this machine's cluster, found by
// the pod's uid in their cgroup, whose command line begins with these words.
func processes(t *testing.T, uid string, words ...string) []int {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, path := range paths {
		dir := filepath.Dir(path)
		groups, err1 := os.ReadFile(path)
		line, err2 := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err1 != nil || err2 != nil || !strings.Contains(string(groups), uid) {
			continue
		}
		args := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
		args[0] = filepath.Base(args[0])
		if len(args) < len(words) || !slices.Equal(args[:len(words)], words) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// signal sends a signal to the processes of a pod that processes finds; there
// has to be one.
func signal(t *testing.T, s syscall.Signal, uid string, words ...string) {
	t.Helper()
	pids := processes(t, uid, words...)
	if len(pids) == 0 {
		t.Fatalf("no process %v of the pod with uid %s on this machine", words, uid)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, s); err != nil {
			t.Fatal(err)
		}
	}
}
