// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"net/netip"
	"strings"
)

// Types of resources that discovery serves over Delta ADS.
const (
	TypeAddress   = "type.googleapis.com/istio.workload.Address"
	TypeRoute     = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	TypeCluster   = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	TypeEndpoints = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	// TypeBalanced is our own, of package balanceapi: a port of a Service that is
	// balanced at connect. Nodes subscribe to all of them, by Wildcard.
	TypeBalanced = "type.googleapis.com/shunt.balance.BalancedPort"
)

// Wildcard subscribes to all resources of a type.
const Wildcard = "*"

// PartialResponse stands in system_version_info of a response to a wildcard
// subscription that does not have all of it yet: more follows. The protocol
// itself has no such mark, and a table that is exchanged as a whole needs one.
const PartialResponse = "partial"

// ClusterName names the route table, the cluster and the endpoints of one port
// of a service, as Istio does: "outbound|80||greeter.demo.svc.cluster.local".
// The empty part between is a subset.
func ClusterName(host string, port uint16) string {
	return fmt.Sprintf("outbound|%d||%s", port, host)
}

// AddressName names the Address resource of an IP address: "<network>/<ip>",
// where our network is "". An IPv4 address mapped into IPv6 is the IPv4 one.
func AddressName(ip netip.Addr) string { return "/" + ip.Unmap().String() }

// ParseAddressName is the reverse of AddressName.
func ParseAddressName(name string) (netip.Addr, error) {
	network, text, found := strings.Cut(name, "/")
	if !found || network != "" {
		return netip.Addr{}, fmt.Errorf("address name %q is malformed (allowed: /<ip>, the network is empty)", name)
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Zone() != "" || AddressName(ip) != name {
		return netip.Addr{}, fmt.Errorf("address name %q is malformed (allowed: /<ip> in its shortest form)", name)
	}
	return ip, nil
}
