// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect"
)

const loopbackName = "lo"

// applyLoopbackAddr puts the IPv6 dial source on the loopback interface, or
// takes it away when want is empty. IPv4 needs none: all of 127.0.0.0/8 is
// local. Where a sysctl has turned IPv6 off there is nothing to do.
func applyLoopbackAddr(want []netip.Prefix) (changed bool, err error) {
	source, err := redirect.IPv6.DialSource()
	if err != nil {
		return false, err
	}
	link, present, err := findLoopbackAddr(source)
	if err != nil || present == (len(want) > 0) || !present && disabledIPv6() {
		return false, err
	}
	// Deprecated (preferred for 0 s, RFC 4862 section 5.5.4), so that nobody gets
	// it as a source address without asking for it.
	forever := ^uint32(0)
	addr := &netlink.Addr{IPNet: ipNet(source), ValidLft: int(forever), PreferedLft: 0}
	if present {
		if err := netlink.AddrDel(link, addr); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return false, fmt.Errorf("remove %v from the loopback interface: %w", source, hint(err))
		}
		return true, nil
	}
	if err := netlink.AddrAdd(link, addr); err != nil && !errors.Is(err, unix.EEXIST) {
		return false, fmt.Errorf("put %v on the loopback interface: %w", source, hint(err))
	}
	return true, nil
}

// checkLoopbackAddr returns a *redirect.Difference where applyLoopbackAddr
// would change something.
func checkLoopbackAddr(want []netip.Prefix) error {
	source, err := redirect.IPv6.DialSource()
	if err != nil {
		return err
	}
	_, present, err := findLoopbackAddr(source)
	if err != nil || present == (len(want) > 0) || !present && disabledIPv6() {
		return err
	}
	d := &redirect.Difference{Where: "loopback interface", Want: source.String(), Got: "no such address"}
	if present {
		d.Want, d.Got = "no address "+source.String(), "it"
	}
	return d
}

func findLoopbackAddr(source netip.Prefix) (netlink.Link, bool, error) {
	link, err := netlink.LinkByName(loopbackName)
	if err != nil {
		return nil, false, fmt.Errorf("find the loopback interface: %w", err)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return link, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("list addresses of the loopback interface: %w", err)
	}
	for _, a := range addrs {
		if got, ok := netip.AddrFromSlice(a.IP); ok && got.Unmap() == source.Addr() {
			return link, true, nil
		}
	}
	return link, false, nil
}

// disabledIPv6 reads the sysctl of the calling thread's namespace. Without it
// the kernel's own answer decides.
func disabledIPv6() bool {
	value, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + loopbackName + "/disable_ipv6")
	return err == nil && strings.TrimSpace(string(value)) == "1"
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
