// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// pins is where a node's agent keeps what it has loaded, see redirect/ebpf.
const pins = "/sys/fs/bpf/shunt/v1"

// pinsOf lists one folder of a node's pins, by paths.
func pinsOf(t *testing.T, node, folder string) []string {
	t.Helper()
	dir := filepath.Join(onNode(t, node, pins), folder)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, e := range entries {
		paths = append(paths, filepath.Join(dir, e.Name()))
	}
	return paths
}

// program is one that is attached on a node.
type program struct {
	name, tag string
	cgroup    uint64 // 0 where it is no control group's
}

// programs returns what the links of a node are to.
func programs(t *testing.T, node string) []program {
	t.Helper()
	var all []program
	for _, path := range pinsOf(t, node, "links") {
		l, err := link.LoadPinnedLink(path, nil)
		if err != nil {
			t.Fatalf("open %s: %v", path, err)
		}
		defer l.Close()
		info, err := l.Info()
		if err != nil {
			t.Fatalf("inspect %s: %v", path, err)
		}
		p := program{name: filepath.Base(path), tag: infoOf(t, info.Program).Tag}
		if group := info.Cgroup(); group != nil {
			p.cgroup = group.CgroupId
		}
		all = append(all, p)
	}
	return all
}

func infoOf(t *testing.T, id ebpf.ProgramID) *ebpf.ProgramInfo {
	t.Helper()
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// pinned counts what a node's agent has loaded and what was written about pods.
// Maps that the kernel itself keeps within bounds don't count.
func pinned(t *testing.T, node string) held {
	t.Helper()
	h := held{}
	for _, folder := range []string{"links", "maps", "pods"} {
		h["pins of "+folder] = len(pinsOf(t, node, folder))
	}
	for _, path := range pinsOf(t, node, "maps") {
		m, err := ebpf.LoadPinnedMap(path, nil)
		if err != nil {
			t.Fatalf("open %s: %v", path, err)
		}
		defer m.Close()
		if kind := m.Type(); kind == ebpf.Hash || kind == ebpf.SockHash {
			h["entries of "+filepath.Base(path)] = entries(t, m)
		}
	}
	return h
}

// entries counts those of a map. One that comes or goes meanwhile may count twice
// or not at all.
func entries(t *testing.T, m *ebpf.Map) (n int) {
	t.Helper()
	key, err := m.NextKeyBytes(nil)
	for ; err == nil && key != nil; key, err = m.NextKeyBytes(key) {
		n++
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}
