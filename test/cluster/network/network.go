// SPDX-License-Identifier: Apache-2.0

// Package network plans and makes the cluster's network: one bridge inside the control plane's network namespace, one
// network namespace for each node, and one veth pair to the host. On the host it adds one link and its connected route; it
// changes no sysctl and no firewall rule there.
package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/shuntmesh/shunt/test/cluster/command"
	"github.com/shuntmesh/shunt/test/cluster/layout"
)

// Base returns the commands that make the bridge, the control plane's and the outside's namespace, and the way to the host.
func Base() [][]string {
	cp, host := layout.NetNS(layout.ControlPlane), "host"
	plan := [][]string{
		words("ip netns add %s", cp),
		words("ip -n %s link set lo up", cp),
		// With an address of its own: else it takes the lowest of its ports', and changes it when a node goes.
		words("ip -n %s link add %s address %s type bridge", cp, layout.Bridge, hardware(layout.APIAddress)),
		words("ip -n %s addr add %s dev %s", cp, onLink(layout.APIAddress), layout.Bridge),
		words("ip -n %s link set %s up", cp, layout.Bridge),
		words("ip link add %s type veth peer name %s netns %s", layout.HostLink, host, cp),
		words("ip -n %s link set %s master %s up", cp, host, layout.Bridge),
		words("ip addr add %s dev %s", onLink(layout.HostAddress), layout.HostLink),
		words("ip link set %s up", layout.HostLink),
		words("ip -n %s route add default via %s", cp, layout.HostAddress),
		sysctl(layout.ControlPlane, "net/ipv4/ip_forward", "1"),
		sysctl(layout.ControlPlane, "net/bridge/bridge-nf-call-iptables", "0"),
		// A packet that a node sends to its default route for another node is forwarded, not answered with a redirect.
		sysctl(layout.ControlPlane, "net/ipv4/conf/all/send_redirects", "0"),
	}
	return append(plan, join(layout.Outside, layout.OutsideAddress)...)
}

// Join returns the commands that make a node's namespace and join it with its peers.
func Join(node layout.Node, all []layout.Node) [][]string {
	plan := join(node.Name, node.Address)
	plan = append(plan,
		sysctl(node.Name, "net/ipv4/ip_forward", "1"),
		// kube-proxy rewrites what one pod sends to another by way of a Service, also between two ports of one bridge.
		sysctl(node.Name, "net/bridge/bridge-nf-call-iptables", "1"),
	)
	for _, name := range []string{layout.ControlPlane, layout.Outside} {
		plan = append(plan, podRoute(name, node))
	}
	for _, peer := range all {
		if peer.Name != node.Name {
			plan = append(plan, podRoute(node.Name, peer))
		}
	}
	return plan
}

// join makes a machine's namespace and puts it on the bridge.
func join(name string, address netip.Addr) [][]string {
	ns, cp := layout.NetNS(name), layout.NetNS(layout.ControlPlane)
	return [][]string{
		words("ip netns add %s", ns),
		words("ip -n %s link set lo up", ns),
		words("ip -n %s link add %s type veth peer name eth0 netns %s", cp, name, ns),
		words("ip -n %s link set %s master %s up", cp, name, layout.Bridge),
		// The same after a reboot, so that no neighbour has to forget the old one first.
		words("ip -n %s link set eth0 address %s", ns, hardware(address)),
		words("ip -n %s addr add %s dev eth0", ns, onLink(address)),
		words("ip -n %s link set eth0 up", ns),
		words("ip -n %s route add default via %s", ns, layout.APIAddress),
	}
}

// podRoute replaces rather than adds: the control plane keeps its routes while a node is rebooted.
func podRoute(from string, to layout.Node) []string {
	return words("ip -n %s route replace %s via %s", layout.NetNS(from), to.PodCIDR, to.Address)
}

// sysctl sets a value inside a namespace: /proc/sys/net shows the namespace of whoever opens it.
func sysctl(machine, key, value string) []string {
	return []string{"nsenter", "--net=" + layout.NetNSPath(machine), "sh", "-c", "echo " + value + " >/proc/sys/" + key}
}

// hardware derives a locally administered hardware address from a machine's address on the bridge.
func hardware(address netip.Addr) net.HardwareAddr {
	ip := address.As4()
	return net.HardwareAddr{0x02, 0x73, ip[0], ip[1], ip[2], ip[3]}
}

func onLink(address netip.Addr) netip.Prefix { return netip.PrefixFrom(address, layout.LinkBits) }

func words(format string, args ...any) []string { return strings.Fields(fmt.Sprintf(format, args...)) }

// Apply runs a plan.
func Apply(ctx context.Context, plan [][]string) error {
	for _, args := range plan {
		if _, err := command.Run(ctx, args...); err != nil {
			return fmt.Errorf("make the network: %w", err)
		}
	}
	return nil
}

// Leave removes one machine's namespace, and with it its links. The missing is no error.
func Leave(ctx context.Context, machine string) error {
	if _, err := os.Stat(layout.NetNSPath(machine)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	ns := layout.NetNS(machine)
	// A namespace lives on for a moment after its name; the link's other end would still be in the bridge.
	// That the link is missing is what is wanted.
	_, _ = command.Run(ctx, "ip", "-n", ns, "link", "delete", "eth0")
	if _, err := command.Run(ctx, "ip", "netns", "delete", ns); err != nil {
		return fmt.Errorf("remove the network of %s: %w", machine, err)
	}
	return nil
}

// Found returns the names of the cluster's network namespaces and links that are on the host.
func Found() (namespaces, links []string, err error) {
	if namespaces, err = marked(layout.NetNSDir); err != nil {
		return nil, nil, err
	}
	links, err = marked("/sys/class/net")
	return namespaces, links, err
}

func marked(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for leavings: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if layout.Ours(entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// Remove removes all namespaces and links of the cluster from the host. It is an error only if something is left.
func Remove(ctx context.Context) error {
	namespaces, links, err := Found()
	if err != nil {
		return err
	}
	for _, name := range links {
		if _, err := command.Run(ctx, "ip", "link", "delete", name); err != nil && stillThere(name) {
			return fmt.Errorf("remove the link %s: %w", name, err)
		}
	}
	for _, name := range namespaces {
		if _, err := command.Run(ctx, "ip", "netns", "delete", name); err != nil {
			return fmt.Errorf("remove the network namespace %s: %w", name, err)
		}
	}
	return nil
}

// stillThere tells an error from a race: a link goes when its peer's namespace does.
func stillThere(link string) bool {
	_, err := os.Stat("/sys/class/net/" + link)
	return err == nil
}
