// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	nft "github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Holds implements redirect.Backend without starting a program: it looks for
// chains of ours in nf_tables, and for any table at all in the legacy variant.
func (b Backend) Holds(ctx context.Context) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	for _, path := range []string{"/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"} {
		names, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without the legacy variant
			return false, fmt.Errorf("list legacy tables: %w", err)
		}
		if len(names) > 0 {
			return true, nil
		}
	}
	conn, err := nft.New()
	if err != nil {
		return false, fmt.Errorf("open netfilter netlink socket: %w", err)
	}
	chains, err := conn.ListChains()
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) { // a kernel without nf_tables
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("list chains: %w", err)
	}
	return slices.ContainsFunc(chains, func(c *nft.Chain) bool { return strings.HasPrefix(c.Name, ownPrefix) }), nil
}
