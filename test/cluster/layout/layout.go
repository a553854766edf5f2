// SPDX-License-Identifier: Apache-2.0

// Package layout says how everything of the test cluster is named, numbered and filed. It is pure: it touches nothing.
//
// What the cluster makes on the host can be told by these names alone: network namespaces, links and cgroups begin with
// [Mark], files are in the state directory.
package layout

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
)

const (
	// Mark begins the name of every network namespace, link and cgroup that the cluster makes on the host.
	Mark = "shunt-"
	// Bridge joins the machines; it is inside the control plane's network namespace, out of reach of the host's firewall.
	Bridge = Mark + "br0"
	// HostLink is the host's end of the veth pair that leads to the bridge: the only link that the host sees.
	HostLink = Mark + "host"
	// ControlPlane is the name of the machine that runs etcd, the API server, the controller manager and the scheduler.
	ControlPlane = "cp"
	// Outside is the name of a network namespace on the bridge with nothing in it: for a test's "host outside of the cluster".
	Outside = "out"
	// DNSDomain is the domain of the cluster's services.
	DNSDomain = "cluster.local"
	// ServiceCIDR holds the addresses of Services; it is known to nodes only.
	ServiceCIDR = "10.96.0.0/16"
	// PodCIDR holds the pod CIDRs of all nodes.
	PodCIDR = "10.88.0.0/16"
	// APIPort is the API server's port.
	APIPort = 6443
	// MaxNodes is bounded by the addresses 172.30.0.11 to 172.30.0.99, and by what one machine can carry.
	MaxNodes = 9
	// PauseImage and CoreDNSImage are packed here and in no registry.
	PauseImage = "shunt.test/pause:1"
	// CoreDNSImage is the image of the DNS server.
	CoreDNSImage = "shunt.test/coredns:1"
)

// Fixed addresses.
var (
	APIAddress     = netip.AddrFrom4([4]byte{172, 30, 0, 1})
	HostAddress    = netip.AddrFrom4([4]byte{172, 30, 0, 254})
	OutsideAddress = netip.AddrFrom4([4]byte{172, 30, 0, 100})
	APIService     = netip.AddrFrom4([4]byte{10, 96, 0, 1})
	DNSService     = netip.AddrFrom4([4]byte{10, 96, 0, 10})
)

// ours matches the names that the cluster gives to what it makes on the host, and no name that merely begins alike.
var ours = regexp.MustCompile(`^` + Mark + `(cp|out|n[1-9]|node[1-9]|br0|host)$`)

// Ours reports whether a network namespace, link or cgroup of this name is the cluster's.
func Ours(name string) bool { return ours.MatchString(name) }

// LinkBits is the prefix length of the network between the machines.
const LinkBits = 24

// Node is a machine that runs pods.
type Node struct {
	// Name is the name of the Kubernetes node: n1, n2, ...
	Name string
	// Index counts from 1.
	Index int
	// Address is the node's address on the bridge.
	Address netip.Addr
	// PodCIDR holds the node's pods.
	PodCIDR netip.Prefix
}

// Nodes returns the first count nodes.
func Nodes(count int) []Node {
	nodes := make([]Node, 0, count)
	for i := 1; i <= count; i++ {
		nodes = append(nodes, Node{
			Name:    fmt.Sprintf("n%d", i),
			Index:   i,
			Address: netip.AddrFrom4([4]byte{172, 30, 0, byte(10 + i)}),
			PodCIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 88, byte(i), 0}), 24),
		})
	}
	return nodes
}

// Cgroup is the node's cgroup in every hierarchy; pods are in its child kubepods, daemons in its child [Daemons].
func (n Node) Cgroup() string { return fmt.Sprintf("/%snode%d", Mark, n.Index) }

// Daemons is the child cgroup of a machine that holds its daemons: version 2 wants processes in leaves only.
const Daemons = "daemons"

// ControlPlaneCgroup is the control plane's cgroup in every hierarchy.
const ControlPlaneCgroup = "/" + Mark + ControlPlane

// NetNS is the name of a machine's network namespace.
func NetNS(machine string) string { return Mark + machine }

// NetNSPath is the file by which a machine's network namespace is entered.
func NetNSPath(machine string) string { return filepath.Join(NetNSDir, NetNS(machine)) }

// NetNSDir is where ip-netns(8) files its names.
const NetNSDir = "/run/netns"

// State is the directory that holds all files of a cluster.
type State string

// Path returns a path inside the state directory.
func (s State) Path(parts ...string) string {
	return filepath.Join(append([]string{string(s)}, parts...)...)
}

// Kubeconfig is the administrator's kubeconfig.
func (s State) Kubeconfig() string { return s.Path("admin.kubeconfig") }

// Log is the log file of one daemon of a machine.
func (s State) Log(machine, daemon string) string {
	return s.Path("log", machine+"-"+daemon+".log")
}

// Spec is the file that says what a machine is made of.
func (s State) Spec(machine string) string { return s.Path(machine, "machine.json") }

// Self is the copy of this program that the machines run as their first process.
func (s State) Self() string { return s.Path("bin", "cluster") }

// Summary is the file that says what cluster the state directory holds; it is written last.
func (s State) Summary() string { return s.Path("cluster.json") }
