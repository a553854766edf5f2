// SPDX-License-Identifier: Apache-2.0

// Package node says what the machine of a Kubernetes node is made of: containerd, kubelet, kube-proxy and the CNI plugins,
// with their configuration. It writes only to the state directory.
package node

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/shuntmesh/shunt/test/cluster/controlplane"
	"github.com/shuntmesh/shunt/test/cluster/layout"
	"github.com/shuntmesh/shunt/test/cluster/machine"
	"github.com/shuntmesh/shunt/test/cluster/pki"
)

//go:embed config
var configs embed.FS

// ContainerdSocket is the runtime's socket inside a node.
const ContainerdSocket = "/run/containerd/containerd.sock"

// cniPlugins are copied into each node, where other installers may add theirs.
func cniPlugins() []string { return []string{"bridge", "loopback", "host-local", "portmap"} }

// Values are what the configuration templates are filled with.
type Values struct {
	layout.Node
	State      layout.State
	DNS        netip.Addr
	DNSDomain  string
	AllPods    string
	PauseImage string
	Socket     string
}

// ImagesLoaded is the file that says that the node has the images without which no pod starts; kubelet waits for it.
func ImagesLoaded(state layout.State, n layout.Node) string {
	return state.Path(n.Name, "images.loaded")
}

// Certify makes the kubelet's certificate and kubeconfig.
func Certify(a *pki.Authority, state layout.State, n layout.Node) error {
	name := "kubelet-" + n.Name
	if err := a.Issue(pki.Identity{
		Name: name, CommonName: "system:node:" + n.Name, Organization: "system:nodes",
		DNSNames: []string{n.Name}, Addresses: []netip.Addr{n.Address},
	}); err != nil {
		return err
	}
	return a.Kubeconfig(state.Path(n.Name, "kubelet.kubeconfig"), controlplane.Server(), name)
}

// Prepare makes the node's private directories and files.
func Prepare(state layout.State, n layout.Node, bin string) error {
	dirs := append(machine.PrivateDirs(), "/etc/cni/net.d", "/opt/cni/bin")
	for _, dir := range dirs {
		if err := os.MkdirAll(private(state, n, dir), 0o755); err != nil {
			return fmt.Errorf("make the files of %s: %w", n.Name, err)
		}
	}
	for _, plugin := range cniPlugins() {
		program, err := os.ReadFile(filepath.Join(bin, plugin))
		if err != nil {
			return fmt.Errorf("copy a CNI plugin: %w", err)
		}
		if err := os.WriteFile(filepath.Join(private(state, n, "/opt/cni/bin"), plugin), program, 0o755); err != nil {
			return fmt.Errorf("copy a CNI plugin: %w", err)
		}
	}
	files, err := Render(Values{
		Node: n, State: state, DNS: layout.DNSService, DNSDomain: layout.DNSDomain,
		AllPods: layout.PodCIDR, PauseImage: layout.PauseImage, Socket: ContainerdSocket,
	})
	if err != nil {
		return err
	}
	for name, text := range files {
		path := state.Path(n.Name, name)
		if name == conflist {
			path = filepath.Join(private(state, n, "/etc/cni/net.d"), name)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write the configuration of %s: %w", n.Name, err)
		}
	}
	return nil
}

// conflist is the CNI configuration; it is the only one that goes to a private directory.
const conflist = "10-bridge.conflist"

// Render fills the configuration files of a node; it is pure.
func Render(v Values) (map[string]string, error) {
	files := map[string]string{}
	all, err := template.ParseFS(configs, "config/*")
	if err != nil {
		return nil, fmt.Errorf("read the configuration templates: %w", err)
	}
	names, err := fs.Glob(configs, "config/*")
	if err != nil {
		return nil, fmt.Errorf("list the configuration templates: %w", err)
	}
	for _, name := range names {
		var text strings.Builder
		if err := all.ExecuteTemplate(&text, filepath.Base(name), v); err != nil {
			return nil, fmt.Errorf("fill %s: %w", name, err)
		}
		files[filepath.Base(name)] = text.String()
	}
	return files, nil
}

// private is where a private directory of a node is on the host.
func private(state layout.State, n layout.Node, dir string) string {
	return state.Path(n.Name, "fs", dir)
}

// Spec says what the machine is made of. decoys maps files of the host to the node's own copies.
func Spec(state layout.State, n layout.Node, bin string, join []string, decoys map[string]string) machine.Spec {
	mounts := []machine.Mount{{Kind: "proc", Target: "/proc"}, {Kind: "tmpfs", Target: "/run"}, {Kind: "bpf", Target: "/sys/fs/bpf"}}
	for _, dir := range machine.PrivateDirs() {
		mounts = append(mounts, machine.Mount{Kind: "bind", Source: private(state, n, dir), Target: dir})
	}
	for _, target := range slices.Sorted(maps.Keys(decoys)) {
		mounts = append(mounts, machine.Mount{Kind: "bind", Source: decoys[target], Target: target})
	}
	runtimeUp := "unix:" + ContainerdSocket
	return machine.Spec{
		Name: n.Name, State: state, Cgroup: n.Cgroup(), Join: join, Mounts: mounts,
		Services: []machine.Service{
			{Name: "containerd", Args: []string{filepath.Join(bin, "containerd"), "--config", state.Path(n.Name, "containerd.toml")}},
			{Name: "kubelet", Args: kubelet(state, n, bin), After: []string{runtimeUp, "file:" + ImagesLoaded(state, n)}},
			{Name: "kube-proxy", Args: []string{filepath.Join(bin, "kube-proxy"), "--config", state.Path(n.Name, "kube-proxy.yaml"), "--hostname-override", n.Name}},
		},
	}
}

func kubelet(state layout.State, n layout.Node, bin string) []string {
	return []string{
		filepath.Join(bin, "kubelet"),
		"--config=" + state.Path(n.Name, "kubelet.yaml"),
		"--kubeconfig=" + state.Path(n.Name, "kubelet.kubeconfig"),
		"--hostname-override=" + n.Name,
		"--node-ip=" + n.Address.String(),
		fmt.Sprintf("--node-labels=topology.kubernetes.io/region=here,topology.kubernetes.io/zone=z%d", n.Index),
	}
}
