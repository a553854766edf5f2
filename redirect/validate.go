// SPDX-License-Identifier: Apache-2.0

package redirect

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/shuntmesh/shunt/internal/contract"
)

// Each entry of these lists costs every new connection a rule or two.
const (
	maxOwners = 16
	maxGroups = 64 // as many as istio-iptables takes
)

// ConfigError names a value that can't be planned.
type ConfigError struct {
	Flag    string // as a user writes it, such as "-u/--proxy-uid"
	Value   string
	Allowed string // what would be accepted, in words
}

// Error returns "<flag>: value <value> is not possible (allowed: ...)".
func (e *ConfigError) Error() string {
	return fmt.Sprintf("%s: value %q is not possible (allowed: %s)", e.Flag, e.Value, e.Allowed)
}

// Validate returns a *ConfigError for the first value that can't be planned.
func (c Config) Validate() error {
	checks := []func() error{
		c.validatePorts,
		c.validateFamilies,
		func() error { return validateOwners("-u/--proxy-uid", c.ProxyUIDs) },
		func() error { return validateOwners("-g/--proxy-gid", c.ProxyGIDs) },
		c.validateOwned,
		func() error { return validateGroups("--owner-groups", c.OwnerGroups) },
		func() error { return validateGroups("--exclude-owner-groups", c.ExcludeOwnerGroups) },
		func() error { return c.validateInclude(c.IncludeOutboundCIDRs) },
		func() error { return c.validateCIDRs("-x/--istio-service-exclude-cidr", c.ExcludeOutboundCIDRs) },
		func() error { return c.validateCIDRs("--include-inbound-cidrs", c.IncludeInboundCIDRs.Prefixes) },
		func() error { return c.validateCIDRs("--exclude-inbound-cidrs", c.ExcludeInboundCIDRs) },
		func() error { return validateRanges("-b/--istio-inbound-ports", c.IncludeInboundPorts.Ranges) },
		func() error { return validateRanges("-d/--istio-local-exclude-ports", c.ExcludeInboundPorts) },
		func() error { return validateRanges("-q/--istio-outbound-ports", c.IncludeOutboundPorts) },
		func() error { return validateRanges("-o/--istio-local-outbound-ports-exclude", c.ExcludeOutboundPorts) },
		func() error { return validateInterfaces("-c/--istio-exclude-interfaces", c.ExcludeInterfaces) },
		c.ClosedPorts.validate,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c Config) validatePorts() error {
	ports := []struct {
		flag string
		port uint16
	}{
		{"-p/--envoy-port", c.OutboundPort},
		{"-z/--inbound-capture-port", c.InboundPort},
		{"-e/--inbound-tunnel-port", c.TunnelPort},
	}
	for i, p := range ports {
		if p.port == 0 {
			return &ConfigError{p.flag, "0", "1 to 65535"}
		}
		for _, other := range ports[:i] {
			if other.port == p.port {
				return &ConfigError{p.flag, strconv.Itoa(int(p.port)), "a port other than that of " + other.flag}
			}
		}
	}
	return nil
}

func (c Config) validateFamilies() error {
	if !c.IPv4 && !c.IPv6 {
		return &ConfigError{"--ipv6", "off", "on, since --ipv4 is off as well; `redirect remove` takes all rules away"}
	}
	return nil
}

// validateOwners refuses root: with it, whatever the application runs as root
// would bypass the proxy in silence.
func validateOwners(flag string, ids []uint32) error {
	const allowed = "1 to 4294967294, at most 16 of them"
	if len(ids) > maxOwners {
		return &ConfigError{flag, fmt.Sprintf("%d entries", len(ids)), allowed}
	}
	for _, id := range ids {
		if id == 0 || id == 1<<32-1 {
			return &ConfigError{flag, strconv.FormatUint(uint64(id), 10), allowed}
		}
	}
	return nil
}

// validateOwned makes sure that the proxy can be told from the application:
// otherwise its own connections would come back to it without end.
func (c Config) validateOwned() error {
	if len(c.ProxyUIDs) == 0 && len(c.ProxyGIDs) == 0 {
		return &ConfigError{"-u/--proxy-uid", "", "at least one uid or gid"}
	}
	return nil
}

// validateGroups takes root's group too: here its author names it.
func validateGroups(flag string, ids []uint32) error {
	const allowed = "0 to 4294967294, at most 64 of them"
	if len(ids) > maxGroups {
		return &ConfigError{flag, fmt.Sprintf("%d entries", len(ids)), allowed}
	}
	if slices.Contains(ids, 1<<32-1) { // what the kernel keeps for "no group"
		return &ConfigError{flag, "4294967295", allowed}
	}
	return nil
}

func (c Config) validateInclude(include CIDRs) error {
	const flag = "-i/--istio-service-cidr"
	for _, p := range include.Prefixes {
		if p.IsValid() && loopback(p.Addr()).Overlaps(p) && p.Bits() >= loopback(p.Addr()).Bits() {
			return &ConfigError{flag, p.String(), "prefixes outside of " + loopback(p.Addr()).String() + ": loopback is never captured"}
		}
	}
	return c.validateCIDRs(flag, include.Prefixes)
}

func (c Config) validateCIDRs(flag string, prefixes []netip.Prefix) error {
	for _, p := range prefixes {
		switch {
		case !p.IsValid():
			return &ConfigError{flag, p.String(), "prefixes such as 10.0.0.0/8 or fd00::/8"}
		case p.Addr().Is4In6():
			return &ConfigError{flag, p.String(), "IPv4 in its own form, such as 10.0.0.0/8"}
		case p.Addr().Is6() && !c.IPv6:
			return &ConfigError{flag, p.String(), "IPv4 prefixes, since --ipv6 is off"}
		case p.Addr().Is4() && !c.IPv4:
			return &ConfigError{flag, p.String(), "IPv6 prefixes, since --ipv4 is off"}
		}
	}
	return nil
}

func validateRanges(flag string, ranges []contract.PortRange) error {
	bad := slices.IndexFunc(ranges, func(r contract.PortRange) bool { return r.First == 0 || r.Last < r.First })
	if bad >= 0 {
		return &ConfigError{flag, ranges[bad].String(), "1 to 65535, or a range such as 9000-9010"}
	}
	return nil
}

func validateInterfaces(flag string, names []string) error {
	if len(names) > contract.MaxInterfaces {
		return &ConfigError{flag, fmt.Sprintf("%d entries", len(names)), contract.InterfacesAllowed}
	}
	for _, name := range names {
		if !contract.IsInterface(name) {
			return &ConfigError{flag, name, contract.InterfacesAllowed}
		}
	}
	return nil
}
