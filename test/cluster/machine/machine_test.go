// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/test/cluster/layout"
)

func TestParseStat(t *testing.T) {
	const rest = " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21"
	for text, want := range map[string]uint64{
		"12 (etcd) S" + rest:            4711,
		"12 (a) b (c d) R" + rest:       4711,
		"12 (\n) S" + rest + " 1 2 3\n": 4711,
	} {
		if got, err := parseStat(text); err != nil || got != want {
			t.Errorf("parseStat(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	if _, err := parseStat("12 (etcd) Z" + rest); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a zombie: %v, want that it is done", err)
	}
	for _, text := range []string{"", "12", "12 (etcd) S 1"} {
		if got, err := parseStat(text); err == nil {
			t.Errorf("parseStat(%q) = %d, want an error", text, got)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("12 (etcd) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21")
	f.Fuzz(func(_ *testing.T, text string) { _, _ = parseStat(text) })
}

// TestFind takes this test for a machine, and then for another process with the same number.
func TestFind(t *testing.T) {
	state := layout.State(t.TempDir())
	spec := Spec{Name: "n1", State: state}
	if err := spec.Write(); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(state, "n1"); !errors.Is(err, ErrDown) {
		t.Errorf("a machine that never ran: %v, want %v", err, ErrDown)
	}
	if err := remember(spec, os.Getpid()); err != nil {
		t.Fatal(err)
	}
	p, err := Find(state, "n1")
	if err != nil || p.PID != os.Getpid() {
		t.Fatalf("Find = %v, %v", p, err)
	}
	if err := os.WriteFile(pidFile(state, "n1"), []byte(`{"pid":1,"started":1}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(state, "n1"); !errors.Is(err, ErrDown) {
		t.Errorf("a number that another process has by now: %v, want %v", err, ErrDown)
	}
	if err := Kill(context.Background(), state, "n1"); err != nil {
		t.Errorf("kill a machine that is down: %v", err)
	}
}

func TestSpecRoundTrip(t *testing.T) {
	want := Spec{
		Name: "n1", State: layout.State(t.TempDir()), Cgroup: "/c", Join: []string{"/j"},
		Mounts:   []Mount{{Kind: "bind", Source: "/a", Target: "/b"}},
		Services: []Service{{Name: "s", Args: []string{"/s"}, After: []string{"file:/f"}}},
	}
	if err := want.Write(); err != nil {
		t.Fatal(err)
	}
	got, err := Read(want.State.Spec("n1"))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("read back: %v (-want +got):\n%s", err, diff)
	}
}

func TestSatisfied(t *testing.T) {
	dir := t.TempDir()
	file, socket := filepath.Join(dir, "file"), filepath.Join(dir, "socket")
	conditions := []string{"file:" + file, "unix:" + socket}
	if satisfied(conditions) {
		t.Error("satisfied with nothing")
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if satisfied(conditions) {
		t.Error("satisfied without the socket")
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if !satisfied(conditions) {
		t.Error("not satisfied with both")
	}
}

func TestDecoys(t *testing.T) {
	dir := t.TempDir()
	copies, err := WriteDecoys(dir)
	if err != nil {
		t.Fatal(err)
	}
	if copies["/proc/sys/kernel/panic"] == "" {
		t.Error("a kubelet would change kernel.panic of the host")
	}
	first, err := BootID(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(first) {
		t.Errorf("%q is no identifier of version 4", first)
	}
	if _, err := WriteDecoys(dir); err != nil {
		t.Fatal(err)
	}
	if second, err := BootID(dir); err != nil || second == first {
		t.Errorf("two boots have one name: %s, %v", second, err)
	}
}
