// SPDX-License-Identifier: Apache-2.0

package install

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/shuntmesh/shunt/cni/install/conflist"
)

// TestPerform: a step does what it says, or nothing where the file is another.
func TestPerform(t *testing.T) {
	t.Parallel()
	put := conflist.Step{Do: conflist.Put, Name: "a", Was: []byte("was"), Content: []byte("ours"), Mode: 0o640}
	create := conflist.Step{Do: conflist.Put, Name: "a", Content: []byte("ours"), Mode: 0o640}
	move := conflist.Step{Do: conflist.Move, Name: "a", Was: []byte("was"), To: "b"}
	remove := conflist.Step{Do: conflist.Remove, Name: "a", Was: []byte("was")}
	tests := []struct {
		step  conflist.Step
		now   string // in "a" beforehand; empty for no such file
		after string // all files
		err   error
	}{
		{put, "was", "a=ours ", nil},
		{put, "theirs", "a=theirs ", errChanged},
		{put, "", "", errChanged},
		{create, "", "a=ours ", nil},
		{create, "theirs", "a=theirs ", errChanged},
		{move, "was", "b=was ", nil},
		{move, "theirs", "a=theirs ", errChanged},
		{move, "", "", errChanged},
		{remove, "was", "", nil},
		{remove, "theirs", "a=theirs ", errChanged},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		if tt.now != "" {
			write(t, filepath.Join(dir, "a"), tt.now)
		}
		err := perform(dir, []conflist.Step{tt.step})
		if got := contents(t, dir); !errors.Is(err, tt.err) || got != tt.after {
			t.Errorf("%+v with %q: %v, %q; want %v, %q", tt.step, tt.now, err, got, tt.err, tt.after)
		}
	}
}

func contents(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&all, "%s=%s ", e.Name(), read(t, filepath.Join(dir, e.Name())))
	}
	return all.String()
}

// TestSwap: the file changes after it was looked at for the last time, and what the
// other wrote is there afterwards.
func TestSwap(t *testing.T) {
	t.Parallel()
	for _, was := range []string{"was", ""} {
		dir := t.TempDir()
		temp, path := filepath.Join(dir, "temp"), filepath.Join(dir, "a")
		write(t, temp, "ours")
		write(t, path, "theirs")
		before := []byte(was)
		if was == "" {
			before = nil
		}
		if err := swap(temp, path, []byte("ours"), before); !errors.Is(err, errChanged) || read(t, path) != "theirs" {
			t.Errorf("was %q: %v, %q", was, err, read(t, path))
		}
	}
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a.conf"), filepath.Join(dir, "a.saved")
	write(t, from, "theirs")
	if err := moveAside(from, to, []byte("was")); !errors.Is(err, errChanged) || contents(t, dir) != "a.conf=theirs " {
		t.Errorf("moved aside: %v, %s", err, contents(t, dir))
	}
}

// TestNothingLost: two agents and an installer that counts up write side by side.
// The list can be loaded at each moment, and in the end it is the installer's last
// with the entry of the agent that came last.
func TestNothingLost(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	o := n.options()
	o.Entry.Backend = "iptables"
	first, _ := start(t, o)
	within(t, soon, "the first is ready", ready(first))
	o.Entry.Backend = "nftables"
	second, _ := start(t, o)
	within(t, soon, "the second is ready", ready(second))
	version := func(count int) string { return strings.Replace(list, "{", fmt.Sprintf(`{"x": %d, `, count), 1) }
	const writes = 200
	for count := range writes + 1 {
		rewrite(t, n.list(), version(count))
		for end := time.Now().Add(time.Duration(count%7) * time.Millisecond); ; {
			if _, err := libcni.NetworkConfFromFile(n.list()); err != nil {
				t.Fatalf("the runtime would fail: %v", err)
			}
			if time.Now().After(end) {
				break
			}
		}
	}
	within(t, soon, "chained", func() bool { return chained(n.list(), o.Entry) })
	if got := read(t, n.list()); !strings.Contains(got, fmt.Sprintf(`"x": %d,`, writes)) {
		t.Errorf("the last write was lost: %s", got)
	}
}
