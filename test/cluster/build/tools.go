// SPDX-License-Identifier: Apache-2.0

// Package build makes the cluster's daemons from pinned Go modules. It writes only to the cache directory that it is given
// (and to Go's own caches), and runs only the go command.
package build

import "strings"

// Tool is one program that is built from a module in the folder tools.
type Tool struct {
	// Name is the file name of the binary.
	Name string
	// Module is the folder that holds the go.mod, relative to the source directory.
	Module string
	// Package is the import path of the main package.
	Package string
	// CGO says that the program needs a C compiler.
	CGO bool
	// Tags are build tags, separated by commas.
	Tags string
	// LDFlags are added to the linker's flags.
	LDFlags string
}

// KubernetesVersion is what the pinned module k8s.io/kubernetes says of itself; a module carries no build stamp.
const KubernetesVersion = "v1.34.4"

// kubernetesStamp makes the version known to clients: without it a cluster calls itself v0.0.0-master.
const kubernetesStamp = "-X k8s.io/component-base/version.gitVersion=" + KubernetesVersion +
	" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34"

// Tools returns all programs in the order in which they are built: the small ones first, so that a missing compiler or
// module shows within a minute.
func Tools() []Tool {
	tools := []Tool{
		{Name: "runc", Module: "tools/runc", Package: "github.com/opencontainers/runc", CGO: true, Tags: "seccomp"},
		{Name: "pause", Module: ".", Package: "./pause"},
		{Name: "etcd", Module: "tools/etcd", Package: "go.etcd.io/etcd/server/v3"},
	}
	for _, plugin := range []string{"main/bridge", "main/loopback", "ipam/host-local", "meta/portmap"} {
		_, name, _ := strings.Cut(plugin, "/")
		tools = append(tools, Tool{Name: name, Module: "tools/cni", Package: "github.com/containernetworking/plugins/plugins/" + plugin})
	}
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "ctr"} {
		tools = append(tools, Tool{Name: name, Module: "tools/containerd", Package: "github.com/containerd/containerd/v2/cmd/" + name})
	}
	tools = append(tools, Tool{Name: "coredns", Module: "tools/coredns", Package: "."})
	for _, name := range []string{"kubectl", "kube-proxy", "kube-scheduler", "kube-apiserver", "kube-controller-manager", "kubelet"} {
		tools = append(tools, Tool{
			Name: name, Module: "tools/kubernetes", Package: "k8s.io/kubernetes/cmd/" + name, LDFlags: kubernetesStamp,
		})
	}
	return tools
}

// arguments returns the go command's arguments that build the tool into out.
func (t Tool) arguments(out string) []string {
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", strings.TrimSpace("-s -w " + t.LDFlags)}
	if t.Tags != "" {
		args = append(args, "-tags", t.Tags)
	}
	return append(args, "-o", out, t.Package)
}

// environment returns what the go command needs beside the caller's environment: the user's own flags and workspaces
// would change what is built.
func (t Tool) environment() []string {
	cgo := "CGO_ENABLED=0"
	if t.CGO {
		cgo = "CGO_ENABLED=1"
	}
	return []string{cgo, "GOFLAGS=", "GOWORK=off"}
}
