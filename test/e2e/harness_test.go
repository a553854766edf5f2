// SPDX-License-Identifier: Apache-2.0

//go:build e2e

// Package e2e holds the tests that run against a real cluster on which Shunt
// is installed: `make e2e` brings both up. KUBECONFIG names the cluster, and
// kubectl comes first on PATH.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const (
	mesh  = "e2e-mesh"
	plain = "e2e-plain"
)

func TestMain(m *testing.M) {
	code, err := runWorld(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// runWorld makes the pods of testdata/world.yaml, runs the tests among them and
// removes them, unless SHUNT_E2E_KEEP is set. TestCapture has pods of its own, and
// is run with SHUNT_E2E_WORLD=none.
func runWorld(m *testing.M) (int, error) {
	if os.Getenv("SHUNT_E2E_WORLD") == "none" {
		return m.Run(), nil
	}
	world, err := os.ReadFile("testdata/world.yaml")
	if err != nil {
		return 1, err
	}
	image := os.Getenv("SHUNT_E2E_IMAGE")
	if image == "" {
		return 1, fmt.Errorf("SHUNT_E2E_IMAGE is not set (run `make e2e`)")
	}
	manifest := strings.ReplaceAll(string(world), "image: APP", "image: "+image)
	defer func() {
		if os.Getenv("SHUNT_E2E_KEEP") == "" {
			_, _ = command(time.Minute, "", "kubectl", "delete", "namespace", mesh, plain, "--ignore-not-found", "--wait=false")
		}
	}()
	// Those of a run before may still be going.
	for _, ns := range []string{mesh, plain} {
		if err := awaitGone(ns); err != nil {
			return 1, err
		}
	}
	if _, err := command(time.Minute, manifest, "kubectl", "apply", "-f", "-"); err != nil {
		return 1, err
	}
	for _, ns := range []string{mesh, plain} {
		if out, err := command(4*time.Minute, "", "kubectl", "-n", ns, "wait", "pod", "-l", "!batch.kubernetes.io/job-name", "--for=condition=Ready", "--timeout=200s"); err != nil {
			state, _ := command(time.Minute, "", "kubectl", "get", "pods,events", "-A", "-o", "wide")
			return 1, fmt.Errorf("wait for pods of %s: %w\n%s\n%s", ns, err, out, state)
		}
	}
	return m.Run(), nil
}

// awaitGone waits until a namespace that is being deleted is no more.
func awaitGone(namespace string) error {
	phase, err := command(time.Minute, "", "kubectl", "get", "namespace", namespace, "--ignore-not-found", "-o", "jsonpath={.status.phase}")
	if err != nil || phase != "Terminating" {
		return err
	}
	_, err = command(3*time.Minute, "", "kubectl", "wait", "namespace", namespace, "--for=delete", "--timeout=150s")
	return err
}

// command runs a program with a time limit and returns what it printed; an
// error carries what it printed on stderr.
func command(limit time.Duration, stdin, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command(3*time.Minute, "", "kubectl", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func apply(t *testing.T, manifest string) {
	t.Helper()
	if _, err := command(time.Minute, withImage(manifest), "kubectl", "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

func withImage(manifest string) string {
	return strings.ReplaceAll(manifest, "image: APP", "image: "+os.Getenv("SHUNT_E2E_IMAGE"))
}

// in runs a command in the app container of a pod.
func in(t *testing.T, namespace, pod string, args ...string) string {
	t.Helper()
	out, err := tryIn(namespace, pod, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryIn(namespace, pod string, args ...string) (string, error) {
	return command(2*time.Minute, "", "kubectl", append([]string{"-n", namespace, "exec", pod, "-c", "app", "--"}, args...)...)
}

// answer is what the servers of test/e2e/app say.
type answer struct {
	Pod, Remote, Proto, Host string
}

func ask(t *testing.T, namespace, pod string, args ...string) answer {
	t.Helper()
	return decode[answer](t, in(t, namespace, pod, args...))
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("decode %q: %v", text, err)
	}
	return v
}

func podIP(t *testing.T, namespace, pod string) string {
	t.Helper()
	return kubectl(t, "-n", namespace, "get", "pod", pod, "-o", "jsonpath={.status.podIP}")
}

// uidOf tells which pod has the name now.
func uidOf(t *testing.T, namespace, pod string) string {
	t.Helper()
	return kubectl(t, "-n", namespace, "get", "pod", pod, "-o", "jsonpath={.metadata.uid}")
}

func podsOf(t *testing.T, namespace, selector string) []string {
	t.Helper()
	return strings.Fields(kubectl(t, "-n", namespace, "get", "pods", "-l", selector, "-o", "jsonpath={.items[*].metadata.name}"))
}

// figure prints one measured value in the form that `make bench` and CI read.
func figure(name string, value any, unit string) {
	fmt.Printf("FIGURE %s %v %s\n", name, value, unit)
}
