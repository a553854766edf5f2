// SPDX-License-Identifier: Apache-2.0

// Package ipv6 is what steering IPv6 takes beside rules: to know whether the
// kernel has it, and the proxy's dial source on the loopback interface. IPv4
// needs no such address: all of 127.0.0.0/8 is local. It acts in the network
// namespace of the calling thread, over netlink, and needs CAP_NET_ADMIN for a
// change.
package ipv6

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect"
)

const loopbackName = "lo"

// Available reports whether the kernel knows IPv6 at all. A namespace in which
// a sysctl has turned it off gets its rules nevertheless: they do no harm, and
// no way around the proxy opens when it is turned on again.
func Available() (bool, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("probe IPv6: %w", err)
	}
	return true, unix.Close(fd)
}

// Reduce leaves IPv6 out of a plan where the kernel lacks it, or where without
// says so: there is nothing to steer.
func Reduce(p redirect.Plan, without bool) (redirect.Plan, error) {
	if !without {
		available, err := Available()
		if available || err != nil {
			return p, err
		}
	}
	p.Families = slices.DeleteFunc(slices.Clone(p.Families), func(f redirect.FamilyPlan) bool { return f.Family == redirect.IPv6 })
	return p, nil
}

// Around writes rules, with the dial source that they want: it comes first and
// goes last, since without rules it is harmless, while rules without it would
// break inbound connections. Rules that are refused leave no address behind.
func Around(want bool, write func() (changed bool, err error)) (changed bool, err error) {
	added := false
	if want {
		if added, err = applyDialSource(true); err != nil {
			return false, err
		}
	}
	written, err := write()
	switch {
	case err != nil && added:
		_, errUndo := applyDialSource(false)
		return written, errors.Join(err, errUndo)
	case err != nil || want:
		return added || written, err
	default:
		taken, err := applyDialSource(false)
		return taken || written, err
	}
}

// applyDialSource puts the dial source on the loopback interface, or takes it
// away, and reports whether that took a change. Where a sysctl has turned IPv6
// off there is nothing to do.
func applyDialSource(want bool) (changed bool, err error) {
	source, err := redirect.IPv6.DialSource()
	if err != nil {
		return false, err
	}
	// Deprecated (preferred for 0 s, RFC 4862 section 5.5.4), so that nobody gets
	// it as a source address without asking for it.
	forever := ^uint32(0)
	addr := &netlink.Addr{IPNet: ipNet(source), ValidLft: int(forever), PreferedLft: 0}
	if !want {
		return removed(source, netlink.AddrDel(loopback(), addr))
	}
	err = netlink.AddrAdd(loopback(), addr)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EEXIST), disabled():
		return false, nil
	default:
		return false, fmt.Errorf("put %v on the loopback interface: %w", source, hint(err))
	}
}

// removed tells what came of a removal. Without IPv6 there is nothing to remove.
func removed(source netip.Prefix, err error) (bool, error) {
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EOPNOTSUPP):
		return false, nil
	default:
		return false, fmt.Errorf("remove %v from the loopback interface: %w", source, hint(err))
	}
}

// CheckDialSource returns a *redirect.Difference where Around would
// change something.
func CheckDialSource(want bool) error {
	source, err := redirect.IPv6.DialSource()
	if err != nil {
		return err
	}
	present, err := holds(source)
	if err != nil || present == want || !present && disabled() {
		return err
	}
	d := &redirect.Difference{Where: "loopback interface", Want: source.String(), Got: "no such address"}
	if present {
		d.Want, d.Got = "no address "+source.String(), "it"
	}
	return d
}

// loopback is the loopback interface of any namespace: its index is the same
// everywhere (LOOPBACK_IFINDEX of net/flow.h in the kernel).
func loopback() netlink.Link {
	return &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: loopbackName, Index: 1}}
}

// holds reports whether the loopback interface has the address.
func holds(source netip.Prefix) (bool, error) {
	addrs, err := netlink.AddrList(loopback(), netlink.FAMILY_V6)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("list addresses of the loopback interface: %w", err)
	}
	return slices.ContainsFunc(addrs, func(a netlink.Addr) bool {
		got, ok := netip.AddrFromSlice(a.IP)
		return ok && got.Unmap() == source.Addr()
	}), nil
}

// disabled reads the sysctl of the calling thread's namespace. Without it the
// kernel's own answer decides.
func disabled() bool {
	value, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + loopbackName + "/disable_ipv6")
	return err == nil && strings.TrimSpace(string(value)) == "1"
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func hint(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w (CAP_NET_ADMIN is needed in the pod's network namespace)", err)
	}
	return err
}
