// SPDX-License-Identifier: Apache-2.0

//go:build netns

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/cni/agent/podtest"
	"github.com/shuntmesh/shunt/cni/conf"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/netns"
)

// bpfNode is a node with a bpffs, of which this process is a pod; so is each
// agent that it starts.
type bpfNode struct {
	*process
	api   *fakeAPI
	bpffs string
	flags []string
}

func newBPFNode(t *testing.T) *bpfNode {
	t.Helper()
	n := &bpfNode{process: prepare(t), api: newFakeAPI(t), bpffs: t.TempDir()}
	plugin := filepath.Join(n.dir, "cni")
	if err := os.Remove(plugin); err != nil { // what stands there for tests that don't run it
		t.Fatal(err)
	}
	build(t, plugin, "../cni")
	podtest.Join(t, uid(9000))
	if err := unix.Mount("bpf", n.bpffs, "bpf", 0, "mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(n.bpffs, unix.MNT_DETACH); err != nil { // what is pinned ends with it
			t.Error(err)
		}
	})
	n.flags = []string{"--backend=ebpf", "--bpffs", n.bpffs, "--cgroups", "/sys/fs/cgroup"}
	return n
}

// begin starts the agent, and waits until eBPF is chosen.
func (n *bpfNode) begin() {
	n.Helper()
	n.start(n.api.kubeconfig(n.T), n.flags...)
	n.within(30*time.Second, "ready", n.ready)
	n.within(5*time.Second, "eBPF in the Node", func() bool {
		says := n.api.annotation(n.T)
		return says.Backend == "ebpf" && says.EBPF != nil && says.EBPF.SelfTest == contract.NodePassed
	})
	says := n.api.annotation(n.T).EBPF
	if len(says.Programs) == 0 || says.Attached() != len(says.Programs) || len(says.Maps) == 0 {
		n.Errorf("the Node says %+v, want all programs attached", says)
	}
}

// tags are those of the programs that the Node tells of.
func (n *bpfNode) tags() (all []string) {
	for _, p := range n.api.annotation(n.T).EBPF.Programs {
		all = append(all, p.Name+" "+p.Tag)
	}
	return all
}

// kill ends the agent as a lack of memory does.
func (n *bpfNode) kill() {
	n.Helper()
	n.stopped = true
	if err := n.cmd.Process.Kill(); err != nil {
		n.Fatal(err)
	}
	if err := <-n.ended; err == nil || n.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		n.Errorf("exit: %v", err)
	}
}

// pod starts one that has an address, and a way out that leads nowhere.
func (n *bpfNode) pod(number int) *podtest.Pod {
	n.Helper()
	p := podtest.Start(n.T, uid(number), podtest.Kind{})
	err := netns.In(p.Net(), func() error {
		eth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "nowhere"}
		if err := netlink.LinkAdd(eth); err != nil {
			return err
		}
		lo, errLo := netlink.LinkByName("lo")
		peer, errPeer := netlink.LinkByName(eth.PeerName)
		if err := errors.Join(errLo, errPeer); err != nil {
			return err
		}
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 66, 0, 2), Mask: net.CIDRMask(24, 32)}}
		for _, step := range []func() error{
			func() error { return netlink.AddrAdd(eth, addr) },
			func() error { return netlink.LinkSetUp(eth) },
			func() error { return netlink.LinkSetUp(peer) },
			func() error { return netlink.LinkSetUp(lo) },
			func() error {
				return netlink.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: net.IPv4(10, 66, 0, 1)})
			},
		} {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		n.Fatal(err)
	}
	return p
}

// captured opens a connection to the outside, which has to end at the proxy's
// port, and by no rule in the pod.
func captured(p *podtest.Pod) error {
	return netns.In(p.Net(), func() error {
		for _, b := range backends.All() {
			if holds, err := b.Holds(context.Background()); err != nil || holds {
				return fmt.Errorf("%s holds something in the pod: %v, %w", b.Name, holds, err)
			}
		}
		return arrives()
	})
}

func arrives() error {
	proxy, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.MustParseAddrPort("0.0.0.0:15001")))
	if err != nil {
		return err
	}
	defer proxy.Close()
	conn, err := net.DialTimeout("tcp4", "192.0.2.1:80", time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := proxy.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	accepted, err := proxy.AcceptTCP()
	if err != nil {
		return err
	}
	return accepted.Close()
}

// mustBeCaptured also after what has just happened.
func (n *bpfNode) mustBeCaptured(when string, pods ...*podtest.Pod) {
	n.Helper()
	for _, p := range pods {
		if err := captured(p); err != nil {
			n.Errorf("%s: pod %s: %v", when, p.UID, err)
		}
	}
}

// add runs the plugin for a pod, with the entry that the agent wrote.
func (n *bpfNode) add(p *podtest.Pod) {
	n.Helper()
	var list struct {
		Plugins []map[string]any `json:"plugins"`
	}
	if err := json.Unmarshal([]byte(n.conflist()), &list); err != nil {
		n.Fatal(err)
	}
	entry := list.Plugins[len(list.Plugins)-1]
	entry["cniVersion"], entry["name"] = "1.0.0", "pods"
	entry["prevResult"] = map[string]any{"cniVersion": "1.0.0", "ips": []any{}}
	entry["runtimeConfig"] = map[string]any{conf.PodAnnotations: map[string]string{contract.AnnotationStatus: status}}
	entry["log"] = filepath.Join(n.dir, "plugin.log")
	stdin, err := json.Marshal(entry)
	if err != nil {
		n.Fatal(err)
	}
	cmd := exec.CommandContext(n.Context(), filepath.Join(n.binDir, contract.PluginBinary))
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_PATH=" + n.binDir, "CNI_NETNS=" + p.Net()}
	if out, err := cmd.CombinedOutput(); err != nil {
		n.Fatalf("ADD: %v: %s", err, out)
	}
}

// pinned are the names of all that is pinned of ours; the kernel has files of its
// own in each bpffs.
func (n *bpfNode) pinned() (names []string) {
	n.Helper()
	err := filepath.WalkDir(filepath.Join(n.bpffs, "shunt"), func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			names = append(names, strings.TrimPrefix(path, n.bpffs+"/"))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.Fatal(err)
	}
	return names
}

// nextVersion builds an agent whose programs have an instruction more each, which
// does nothing.
func nextVersion(t *testing.T, dir string) string {
	t.Helper()
	source, err := filepath.Abs("../../redirect/ebpf/programs_bpfel.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	const load = "func loadPrograms() (*ebpf.CollectionSpec, error) {"
	if bytes.Count(text, []byte(load)) != 1 {
		t.Fatalf("%s has no %q", source, load)
	}
	text = bytes.Replace(text, []byte(load), []byte(load+`
	spec, err := loadThese()
	if err != nil {
		return nil, err
	}
	for _, p := range spec.Programs {
		rest := append(asm.Instructions{asm.Mov.Imm(asm.R0, 0)}, p.Instructions[1:]...)
		p.Instructions = append(p.Instructions[:1:1], rest...)
	}
	return spec, nil
}

func loadThese() (*ebpf.CollectionSpec, error) {`), 1)
	text = bytes.Replace(text, []byte("import ("), []byte("import (\n\t\"github.com/cilium/ebpf/asm\""), 1)
	changed, overlay, binary := filepath.Join(dir, "next.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "next-agent")
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{source: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for path, body := range map[string][]byte{changed: text, overlay: list} {
		if err := os.WriteFile(path, body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build(t, binary, ".", "-overlay", overlay)
	return binary
}
