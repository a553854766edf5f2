// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKilledUp kills a start in the middle. The next start copes with what is left, and down leaves nothing.
func TestKilledUp(t *testing.T) {
	h := newHarness(t)
	h.cluster(t, "down")
	before := takeInventory(t)
	t.Cleanup(func() { h.cluster(t, "down"); before.compare(t) })

	for _, step := range []string{"make networks and cgroups", "start the control plane", "start 2 nodes", "wait for DNS"} {
		t.Run(step, func(t *testing.T) {
			h.killAt(t, step)
			if strings.HasPrefix(step, "make networks") || strings.HasPrefix(step, "wait") {
				h.cluster(t, "down")
				before.compare(t)
			}
		})
	}
	h.killAt(t, "start 2 nodes")
	h.cluster(t, "up")
	if ready := h.kubectl(t, "get", "nodes", "--no-headers"); strings.Count(ready, " Ready ") != 2 {
		t.Errorf("nodes after a start over leavings:\n%s", ready)
	}
}

// killAt starts a cluster and kills the program a moment after a step has begun.
func (h harness) killAt(t *testing.T, step string) {
	t.Helper()
	up := h.upTo(t, step)
	if err := up.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = up.Wait()
}

// upTo starts a cluster and returns when a step has begun.
func (h harness) upTo(t *testing.T, step string) *exec.Cmd {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "up.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	up := begin(t, log, h.program, "-state", state, "-source", "..", "up")
	eventually(t, 3*time.Minute, func() string {
		text, err := os.ReadFile(log.Name())
		if err != nil || !bytes.Contains(text, []byte(".. "+step)) {
			return fmt.Sprintf("up has not come to %q: %v\n%s", step, err, text)
		}
		return ""
	})
	return up
}

// TestLock finds that two commands don't change a cluster at once, and that the second says what the first does.
func TestLock(t *testing.T) {
	h := newHarness(t)
	h.cluster(t, "down")
	t.Cleanup(func() { h.cluster(t, "down") })
	up := h.upTo(t, "prepare files and certificates")
	_, err := try(time.Minute, h.program, "-state", state, "down")
	if want := fmt.Sprintf("busy with `cluster up`, process %d", up.Process.Pid); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("down during up: %v, want %q", err, want)
	}
	if err := up.Wait(); err != nil {
		t.Errorf("up, while another tried: %v", err)
	}
}
