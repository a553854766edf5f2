// SPDX-License-Identifier: Apache-2.0

//go:build netns

package ebpf

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

func TestLoadIsIdempotent(t *testing.T) {
	n := loaded(t)
	before := programIDs(t, n)
	if changed, err := n.Load(t.Context()); err != nil || changed {
		t.Errorf("second load: changed %v, %v", changed, err)
	}
	if after := programIDs(t, n); !slices.Equal(after, before) {
		t.Errorf("second load: programs %v, before %v", after, before)
	}
	s, err := n.Status()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Programs {
		if !p.Attached || p.Tag == "" {
			t.Errorf("status of %s: %+v", p.Name, p)
		}
	}
	if len(s.Programs) != len(hooks()) || len(s.Maps) != 13 || len(s.Counters) != len(counterNames()) {
		t.Errorf("status: %+v", s)
	}
}

func TestSelfTest(t *testing.T) {
	n := loaded(t)
	if err := n.SelfTest(t.Context()); err != nil {
		t.Error(err)
	}
	if got := held(t, n); got != nothingHeld {
		t.Errorf("after the self-test: %s, want %s", got, nothingHeld)
	}
	// Programs that are attached elsewhere don't see this process.
	if err := os.Remove(n.layout().link(programsProgShuntConnect4)); err != nil {
		t.Fatal(err)
	}
	if err := n.SelfTest(t.Context()); err == nil || !strings.Contains(err.Error(), "outbound") {
		t.Errorf("self-test without a program: %v, want an error that names the direction", err)
	}
}

// TestUnload leaves nothing, nor does a second one find anything.
func TestUnload(t *testing.T) {
	n := loaded(t)
	_, ns := testnet.Pair(t)
	apply(t, n, ns, captureAll())
	for range 2 {
		if err := n.Unload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(n.BPFFS, "shunt")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what was pinned: %v, want it gone", err)
		}
	}
	if _, err := n.Status(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("status of what is not loaded: %v", err)
	}
}

// TestOtherCgroupRoot attaches there, and to the old one no more.
func TestOtherCgroupRoot(t *testing.T) {
	n := loaded(t)
	other := n
	other.CgroupRoot = filepath.Join(n.CgroupRoot, "inner")
	if err := os.Mkdir(other.CgroupRoot, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(other.CgroupRoot)
	if changed, err := other.Load(t.Context()); err != nil || !changed {
		t.Fatalf("load: changed %v, %v", changed, err)
	}
	for which, want := range map[Node]bool{n: false, other: true} {
		s, err := which.Status()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range s.Programs {
			if p.Attached != want {
				t.Errorf("%s is attached to %s: %v, want %v", p.Name, which.CgroupRoot, p.Attached, want)
			}
		}
	}
	if err := other.Unload(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestOtherLayoutIsRefused keeps the programs that are there.
func TestOtherLayoutIsRefused(t *testing.T) {
	n := loaded(t)
	before := programIDs(t, n)
	spec := nextVersion(t)
	spec.Maps[programsMapPods].ValueSize *= 2
	spec.Maps[programsMapPods].Value = nil
	if _, err := n.load(t.Context(), spec); !errors.Is(err, ebpf.ErrMapIncompatible) || !strings.Contains(err.Error(), n.layout().maps()) {
		t.Errorf("load over another layout: %v", err)
	}
	if after := programIDs(t, n); !slices.Equal(after, before) {
		t.Errorf("programs after: %v, before: %v", after, before)
	}
}

// TestOthers names a stranger at one of our hooks, and not ourselves.
func TestOthers(t *testing.T) {
	n := loaded(t)
	if found, err := n.Others(); err != nil || len(found) > 0 {
		t.Fatalf("others: %v, %v, want none", found, err)
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "cil_sock4_conne", Type: ebpf.CGroupSockAddr, AttachType: ebpf.AttachCGroupInet4Connect, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	l, err := link.AttachCgroup(link.CgroupOptions{Path: n.CgroupRoot, Attach: ebpf.AttachCGroupInet4Connect, Program: program})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	found, err := n.Others()
	if err != nil || len(found) != 1 || !strings.Contains(found[0].String(), "socketLB.hostNamespaceOnly") {
		t.Errorf("others: %v, %v, want Cilium's", found, err)
	}
}

func TestProbeNamesWhatIsMissing(t *testing.T) {
	n := confine(t)
	if err := n.Probe(); err != nil {
		t.Errorf("probe: %v", err)
	}
	err := Node{BPFFS: t.TempDir(), CgroupRoot: "/proc"}.Probe()
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("probe: %v, want it unsupported", err)
	}
	for _, part := range []string{"bpffs at", "mount -t bpf", "control groups of version 2 at /proc"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("probe says %q, want it to say %q", err, part)
		}
	}
}

// nextVersion is this version's programs with an instruction more each, which
// does nothing.
func nextVersion(t testing.TB) *ebpf.CollectionSpec {
	t.Helper()
	spec, err := loadPrograms()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range spec.Programs {
		p.Instructions = slices.Insert(p.Instructions, 1, asm.Mov.Imm(asm.R0, 0))
	}
	return spec
}

func programIDs(t testing.TB, n Node) []ebpf.ProgramID {
	t.Helper()
	ids, err := n.ownPrograms()
	if err != nil {
		t.Fatal(err)
	}
	return ids
}
