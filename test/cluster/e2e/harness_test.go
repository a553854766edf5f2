// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/test/cluster/command"
	"github.com/shuntmesh/shunt/test/cluster/image"
)

// state is not the default, so that no test ends the cluster that somebody works with: the program refuses a second one.
const state = "/var/lib/shunt-cluster-test"

// probeImage is the image of the folder probe.
const probeImage = "shunt.test/probe:1"

// harness runs the program as a user would.
type harness struct {
	program string
}

// newHarness builds the program, and all binaries if they are not in the cache. It fails where a cluster can't run.
func newHarness(t *testing.T) harness {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a cluster needs root (use sudo)")
	}
	h := harness{program: filepath.Join(t.TempDir(), "cluster")}
	run(t, 5*time.Minute, "go", "build", "-o", h.program, "..")
	run(t, time.Hour, h.program, "build", "-source", "..")
	return h
}

// cluster runs a verb and returns its standard output.
func (h harness) cluster(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, 10*time.Minute, append([]string{h.program, "-state", state, "-source", ".."}, args...)...)
}

// kubectl returns what kubectl prints.
func (h harness) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, 3*time.Minute, h.kubectlArgs(t, args...)...)
}

func (h harness) kubectlArgs(t *testing.T, args ...string) []string {
	t.Helper()
	bin := strings.TrimSpace(h.cluster(t, "bin"))
	base := []string{filepath.Join(bin, "kubectl"), "--kubeconfig=" + state + "/admin.kubeconfig", "--cache-dir=" + state + "/kubectl-cache"}
	return append(base, args...)
}

// apply applies a manifest of testdata.
func (h harness) apply(t *testing.T, file string) {
	t.Helper()
	h.kubectl(t, "apply", "-f", filepath.Join("testdata", file))
}

// loadProbe packs the program of the folder probe and loads it into the nodes.
func (h harness) loadProbe(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	build := command.Command{
		Args: []string{"go", "build", "-o", filepath.Join(dir, "probe"), "./probe"},
		Env:  []string{"CGO_ENABLED=0"},
	}
	if _, err := build.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	tarball := filepath.Join(dir, "probe.tar")
	if err := image.Pack(tarball, probeImage, filepath.Join(dir, "probe")); err != nil {
		t.Fatal(err)
	}
	h.cluster(t, "load-image", tarball)
}

// run runs a program to its end and returns its standard output.
func run(t *testing.T, timeout time.Duration, args ...string) string {
	t.Helper()
	out, err := try(timeout, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func try(timeout time.Duration, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return command.Run(ctx, args...)
}

// eventually calls check until it returns no complaint, or fails with the last one.
func eventually(t *testing.T, timeout time.Duration, check func() (complaint string)) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		complaint := check()
		if complaint == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %s", timeout, complaint)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// begin starts a program that runs until the test ends it.
func begin(t *testing.T, out io.Writer, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}
