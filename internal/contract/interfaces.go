// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"fmt"
	"strings"
)

const (
	// MaxInterfaces bounds a list: each is a rule of its own.
	MaxInterfaces = 16
	// InterfacesAllowed says in words what such a list may hold.
	InterfacesAllowed = "names of 1 to 15 letters, digits and ._@-, without wildcards, at most 16 of them"
	// maxInterfaceName is IFNAMSIZ of linux/if.h without the NUL at the end, in
	// bytes.
	maxInterfaceName = 15
)

// ParseInterfaces reads names of network interfaces, separated by commas. An
// empty text is an empty list.
func ParseInterfaces(text string) ([]string, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var names []string
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		if !IsInterface(name) {
			return nil, fmt.Errorf("interface list %q: entry %q (allowed: %s)", text, name, InterfacesAllowed)
		}
		names = append(names, name)
	}
	if len(names) > MaxInterfaces {
		return nil, fmt.Errorf("interface list %q: %d entries (allowed: %s)", text, len(names), InterfacesAllowed)
	}
	return names, nil
}

// IsInterface tells whether a network interface may have that name. It takes
// fewer names than the kernel does: iptables reads a + at the end as a wildcard,
// nft a *, and a name that means two things is refused rather than read twice. A
// - in front would begin a flag.
func IsInterface(name string) bool {
	return name != "" && name != "." && name != ".." && name[0] != '-' && len(name) <= maxInterfaceName && !strings.ContainsFunc(name, notInName)
}

func notInName(r rune) bool {
	letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	digit := r >= '0' && r <= '9'
	return !letter && !digit && !strings.ContainsRune("._@-", r)
}
