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

// Holds implements redirect.Backend. It starts programs only where the legacy
// variant has tables, which nothing else can list; without them the answer is
// yes.
func (b Backend) Holds(ctx context.Context) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	used, err := legacyInUse()
	if err != nil {
		return false, err
	}
	if used {
		holds, err := b.legacyHolds(ctx)
		if err != nil || holds {
			return holds, err
		}
	}
	return nftHolds()
}

func legacyInUse() (bool, error) {
	for _, path := range []string{"/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"} {
		names, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without the legacy variant
			return false, fmt.Errorf("list legacy tables: %w", err)
		}
		if len(names) > 0 {
			return true, nil
		}
	}
	return false, nil
}

func (b Backend) legacyHolds(ctx context.Context) (bool, error) {
	available, err := b.hasIPv6()
	if err != nil {
		return false, err
	}
	set, err := findSet(Legacy, available, false)
	if errors.Is(err, errors.ErrUnsupported) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	found, err := set.survey(ctx, runner{})
	return err == nil && found.holdsOurs(), err
}

func nftHolds() (bool, error) {
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
