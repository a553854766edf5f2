// SPDX-License-Identifier: Apache-2.0

// Package nftables makes a network namespace match a redirect.Plan by talking
// nf_tables' netlink protocol: no fork, no nft binary, and changes that take
// effect in one batch. It needs CAP_NET_ADMIN and nothing else, writes no file, and works in the
// namespace of the calling thread.
//
// There is one table named "shunt" for each family, ip and ip6, and not one of
// the inet family, though a batch spans both alike: NAT in inet tables needs
// Linux 5.2, in ip and ip6 tables 4.18 (the first where nf_tables' and
// iptables' NAT share a namespace), and a kernel without IPv6 simply has one
// table less. All other tables are left alone. Both chains hook in at the
// priority of destination NAT (-100), where kube-proxy's rules are too; those
// live in the node's namespace, not in the pod's.
package nftables

import (
	"context"
	"fmt"

	nft "github.com/google/nftables"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/internal/ipv6"
	"github.com/shuntmesh/shunt/redirect/internal/nslock"
)

// tableName is ours in each family. Nothing else may use it.
const tableName = "shunt"

// Backend is a redirect.Backend. The zero value is ready for use.
type Backend struct {
	withoutIPv6 bool // tests: pretend that the kernel has no IPv6
}

var _ redirect.Backend = Backend{}

// Apply implements redirect.Backend. A namespace that already matches is not
// written to. Where only lists differ, their sets are filled anew; otherwise
// the rules of both families are replaced. Either takes effect in one batch,
// under which open connections keep their way.
func (b Backend) Apply(ctx context.Context, p redirect.Plan) (bool, error) {
	want, err := b.render(p)
	if err != nil {
		return false, err
	}
	// Between reading and writing, another process could make a mixture.
	lock, err := nslock.Acquire(ctx)
	if err != nil {
		return false, err
	}
	defer lock.Release()
	return ipv6.Around(want.dialSource, func() (changed bool, err error) {
		err = converse(ctx, func(s socket) (err error) {
			changed, err = s.write(want.tables)
			return err
		})
		return changed, err
	})
}

// write makes our tables be exactly want, with as little as it takes.
func (s socket) write(want []table) (changed bool, err error) {
	own, err := ownTables(s.Conn)
	if err != nil {
		return false, err
	}
	stale, err := compareStructure(s, own, want)
	if err == nil && len(stale) == 0 {
		return false, nil
	}
	if err == nil && refill(s.Conn, stale) == nil {
		return true, nil
	}
	// A set that can't be filled has changed under our hands, and so may all else.
	if err == nil {
		if own, err = ownTables(s.Conn); err != nil {
			return false, err
		}
	}
	if err := replace(s.Conn, own, want); err != nil {
		return false, fmt.Errorf("replace rules: %w", hint(err))
	}
	return true, nil
}

// Check implements redirect.Backend.
func (b Backend) Check(ctx context.Context, p redirect.Plan) error {
	want, err := b.render(p)
	if err != nil {
		return err
	}
	err = converse(ctx, func(s socket) error { return compare(s, want.tables) })
	if err != nil {
		return err
	}
	return ipv6.CheckDialSource(want.dialSource)
}

// Remove implements redirect.Backend. The kernel forgets the translation of
// connections that are open, so the pod's proxy should have gone before.
func (b Backend) Remove(ctx context.Context) error {
	lock, err := nslock.Acquire(ctx)
	if err != nil {
		return err
	}
	defer lock.Release()
	_, err = ipv6.Around(false, func() (bool, error) {
		return true, converse(ctx, func(s socket) error {
			own, err := ownTables(s.Conn)
			if err != nil {
				return err
			}
			return replace(s.Conn, own, nil)
		})
	})
	if err != nil {
		return fmt.Errorf("remove rules: %w", hint(err))
	}
	return nil
}

// Holds implements redirect.Backend.
func (b Backend) Holds(ctx context.Context) (holds bool, err error) {
	err = converse(ctx, func(s socket) error {
		own, err := ownTables(s.Conn)
		holds = len(own) > 0
		return err
	})
	return holds, err
}

// ownTables lists our tables, IPv4 first.
func ownTables(conn *nft.Conn) ([]*nft.Table, error) {
	all, err := conn.ListTables()
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", hint(err))
	}
	var own []*nft.Table
	for _, family := range []nft.TableFamily{nft.TableFamilyIPv4, nft.TableFamilyIPv6} {
		for _, t := range all {
			if t.Name == tableName && t.Family == family {
				own = append(own, t)
			}
		}
	}
	return own, nil
}
