// SPDX-License-Identifier: Apache-2.0

package podns_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/cni/agent/podns"
	"github.com/shuntmesh/shunt/internal/deptest"
)

const (
	uid   = "1b1e8f9a-7c3e-4d53-9d4a-6a3f9a1f7f10"
	other = "2b1e8f9a-7c3e-4d53-9d4a-6a3f9a1f7f10"
	under = "1b1e8f9a_7c3e_4d53_9d4a_6a3f9a1f7f10"
	hash  = "0123456789abcdef0123456789abcdef"
)

func TestParseCgroup(t *testing.T) {
	for text, want := range map[string]string{
		"":         "",
		"0::/\n":   "",
		"0::/init": "",
		// cgroupfs driver, both versions of cgroups, each class of pods
		"0::/kubepods/burstable/pod" + uid + "/aa":                         uid,
		"0::/kubepods/besteffort/pod" + uid:                                uid,
		"12:cpu,cpuacct:/kubepods/pod" + uid + "/aa\n0::/\n":               uid,
		"9:name=systemd:/\n8:pids:/node1/kubepods/pod" + uid + "/aa\n0::/": uid,
		// systemd driver
		"0::/kubepods.slice/kubepods-pod" + under + ".slice/cri-containerd-aa.scope":                                                       uid,
		"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + under + ".slice/crio-aa.scope/container":                    uid,
		"0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" + under + ".slice/aa": uid,
		// from within a cgroup namespace
		"0::/../../kubepods-burstable-pod" + under + ".slice/aa.scope": uid,
		"0::/../pod" + uid + "/aa":                                     uid,
		// a static pod
		"0::/kubepods/burstable/pod" + hash + "/aa":                                               hash,
		"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + hash + ".slice/aa": hash,
		// a cluster in a pod: the outer one counts
		"0::/kubepods/pod" + uid + "/aa/kubelet/kubepods/pod" + other + "/bb": uid,
		// nearly
		"0::/kubepods/pod" + uid[1:] + "/aa":                 "",
		"0::/kubepods/pod" + strings.ToUpper(uid) + "/aa":    "",
		"0::/kubepods/pod" + under + "/aa":                   "",
		"0::/kubepods.slice/kubepods-pod" + uid + ".slice":   "",
		"0::/user.slice/user-pod" + under + ".slice/a.scope": "",
		"0::/kubepods.slice/kubepods-pod" + under:            "",
		"0::/machine/libpod-" + hash:                         "",
		"pod" + uid:                                          "",
		"0:/pod" + uid:                                       "",
	} {
		if got := podns.ParseCgroup([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzParseCgroup(f *testing.F) {
	f.Add("0::/kubepods/burstable/pod" + uid + "/aa")
	f.Add("9:name=systemd:/\n0::/kubepods.slice/kubepods-pod" + under + ".slice/cri-containerd-aa.scope")
	f.Fuzz(func(t *testing.T, text string) {
		got := podns.ParseCgroup([]byte(text))
		if got == "" {
			return
		}
		if len(got) != len(uid) && len(got) != len(hash) || strings.Trim(got, "0123456789abcdef-") != "" {
			t.Errorf("%q: %q is no UID", text, got)
		}
		if !strings.Contains(strings.ReplaceAll(text, "_", "-"), "pod"+got) {
			t.Errorf("%q: %q is not in it", text, got)
		}
	})
}

// proc is a /proc as far as the finder reads it.
type proc struct {
	*testing.T
	dir string
}

const hostNet = "net:[1]"

func newProc(t *testing.T) proc {
	p := proc{t, t.TempDir()}
	p.process(1, 1, "0::/init.scope", hostNet)
	return p
}

// process adds or replaces one. Its name is as unkind as names can be.
func (p proc) process(pid int, started uint64, cgroup, net string) {
	p.Helper()
	dir := filepath.Join(p.dir, strconv.Itoa(pid))
	stat := fmt.Sprintf("%d (a) S 1 (b 9) S 0 0 0 0 0 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 1 1\n", pid, started)
	err := errors.Join(os.RemoveAll(dir), os.MkdirAll(filepath.Join(dir, "ns"), 0o755),
		os.WriteFile(filepath.Join(dir, "stat"), []byte(stat), 0o644),
		os.WriteFile(filepath.Join(dir, "cgroup"), []byte(cgroup+"\n"), 0o644),
		os.Symlink(net, filepath.Join(dir, "ns/net")), // as in a real one it can be opened, whatever it says
		os.WriteFile(filepath.Join(dir, "ns", net), nil, 0o644))
	if err != nil {
		p.Fatal(err)
	}
}

func (p proc) finder() *podns.Finder {
	p.Helper()
	f, err := podns.New(p.dir)
	if err != nil {
		p.Fatal(err)
	}
	return f
}

func (p proc) find(f *podns.Finder) map[string]podns.Process {
	p.Helper()
	found, err := f.Find(func(u string) bool { return u == uid })
	if err != nil {
		p.Fatal(err)
	}
	return found
}

func TestFind(t *testing.T) {
	pod := "0::/kubepods/pod" + uid
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		fill  func(proc)
		wants int // PID, 0 for none
	}{
		{"no pod", func(proc) {}, 0},
		{"another pod", func(p proc) { p.process(50, 5, "0::/kubepods/pod"+other+"/a", "net:[7]") }, 0},
		{"the sandbox is older than the containers", func(p proc) {
			p.process(60, 4, pod+"/c", "net:[7]")
			p.process(50, 3, pod+"/sandbox", "net:[7]")
			p.process(70, 5, pod+"/c", "net:[8]") // has made a namespace of its own
		}, 50},
		{"started in the same tick", func(p proc) {
			p.process(61, 3, pod+"/c", "net:[8]")
			p.process(60, 3, pod+"/c", "net:[7]")
		}, 60},
		{"PIDs have wrapped", func(p proc) {
			p.process(60, 90, pod+"/c", "net:[8]")
			p.process(4000000, 3, pod+"/sandbox", "net:[7]")
		}, 4000000},
		{"a monitor in the host's namespace is older", func(p proc) {
			p.process(40, 2, pod+"/crio-conmon", hostNet)
			p.process(50, 3, pod+"/c", "net:[7]")
		}, 50},
		{"a pod in the host's network", func(p proc) { p.process(50, 3, pod+"/c", hostNet) }, 0},
		{"a pod in the agent's network", func(p proc) { p.process(50, 3, pod+"/c", own) }, 0},
		{"a process that ends", func(p proc) {
			p.process(50, 3, pod+"/c", "net:[7]")
			_ = os.Remove(filepath.Join(p.dir, "50/stat"))
			p.process(60, 4, pod+"/c", "net:[7]")
		}, 60},
	}
	for _, tt := range tests {
		p := newProc(t)
		tt.fill(p)
		found := p.find(p.finder())
		if found[uid].PID != tt.wants || len(found) > 1 {
			t.Errorf("%s: found %v, want process %d", tt.name, found, tt.wants)
		}
	}
}

func TestHolds(t *testing.T) {
	p := newProc(t)
	pod := "0::/kubepods/pod" + uid + "/c"
	p.process(50, 3, pod, "net:[7]")
	f := p.finder()
	process := p.find(f)[uid]
	if !f.Holds(process) {
		t.Error("not held")
	}
	if ns, err := f.Open(uid, process); err != nil {
		t.Error(err)
	} else {
		ns.Close()
	}
	p.process(50, 3, pod, "net:[8]")
	if f.Holds(process) {
		t.Error("it has entered another namespace")
	}
	for what, again := range map[string]func(){
		"PID and namespace are used again": func() { p.process(50, 4, pod, "net:[7]") },
		"another pod's":                    func() { p.process(50, 3, "0::/kubepods/pod"+other+"/c", "net:[7]") },
		"the host's":                       func() { p.process(50, 3, pod, hostNet) },
	} {
		again()
		if _, err := f.Open(uid, process); !errors.Is(err, podns.ErrGone) {
			t.Errorf("%s: %v", what, err)
		}
	}
	p.process(50, 3, pod, "net:[7]")
	if err := os.RemoveAll(filepath.Join(p.dir, "50")); err != nil {
		t.Fatal(err)
	}
	if f.Holds(process) {
		t.Error("it has ended")
	}
	if _, err := f.Open(uid, process); !errors.Is(err, podns.ErrGone) {
		t.Errorf("open: %v, want that it has ended", err)
	}
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	if _, err := podns.New(t.TempDir()); err == nil || !strings.Contains(err.Error(), "/proc has to be mounted") {
		t.Errorf("%v", err)
	}
}

// BenchmarkFind reads the processes of this machine.
func BenchmarkFind(b *testing.B) {
	f, err := podns.New("/proc")
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		if _, err := f.Find(func(string) bool { n++; return false }); err != nil {
			b.Fatal(err)
		}
	}
}

func TestDeps(t *testing.T) {
	deptest.Check(t,
		deptest.Rule{Of: ".", Not: "k8s.io", Because: "processes are found by the kernel's files alone"},
		deptest.Rule{Of: ".", Not: deptest.Module + "redirect", Because: "what is done in a namespace is not its business"},
	)
}
