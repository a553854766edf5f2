// SPDX-License-Identifier: Apache-2.0

//go:build netns

package cni_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/shuntmesh/shunt/redirect/netns"
)

// newPod returns the path of a fresh network namespace, as a runtime would hand
// it over. Its loopback interface is up unless down is said.
func newPod(t testing.TB, down bool) string {
	t.Helper()
	if os.Getuid() != 0 {
		if reason := os.Getenv("SHUNT_SKIP"); reason != "" {
			t.Skip("SHUNT_SKIP: " + reason)
		}
		t.Fatal("network namespaces need root (SHUNT_SKIP=<reason> skips these tests)")
	}
	path := filepath.Join(t.TempDir(), "netns")
	err := netns.Throwaway(func() error {
		file, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = file.Close() })
		if err := os.Symlink(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), file.Fd()), path); err != nil {
			return err
		}
		if down {
			return nil
		}
		return loopbackUp()
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// in calls f in a pod.
func in(t testing.TB, pod string, f func() error) {
	t.Helper()
	if err := netns.In(pod, f); err != nil {
		t.Fatal(err)
	}
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}
