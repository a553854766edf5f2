// SPDX-License-Identifier: Apache-2.0

// Package iptables makes a network namespace match a redirect.Plan with the
// programs iptables-save and iptables-restore, for kernels without nf_tables.
// It acts in the namespace of the calling thread and needs CAP_NET_ADMIN and
// CAP_NET_RAW, /proc, and the programs of one variant in PATH.
//
// Ours are the chains whose names begin with SHUNT_, the rules of others that
// jump to them, and the address ::6 on the loopback interface; all else is left
// alone. A table is written by one iptables-restore --noflush, which the kernel
// takes as a whole or not at all: our chains first, the jumps to them last,
// each with the generation of the rules in its comment.
package iptables

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/internal/ipv6"
	"github.com/shuntmesh/shunt/redirect/internal/nslock"
)

// Backend is a redirect.Backend. The zero value chooses the variant by what
// works and by what the namespace holds already, and is ready for use.
type Backend struct {
	Variant Variant // the one to write; what the other holds of ours is taken away

	withoutIPv6 bool // tests: pretend that the kernel has no IPv6
}

var _ redirect.Backend = Backend{}

// Apply implements redirect.Backend. Each family changes in one step, IPv4
// first; rules of the other variant are taken away afterwards.
func (b Backend) Apply(ctx context.Context, p redirect.Plan) (changed bool, err error) {
	want, err := b.render(p)
	if err != nil {
		return false, err
	}
	lock, err := nslock.Acquire(ctx)
	if err != nil {
		return false, err
	}
	defer lock.Release()
	return ipv6.Around(want.dialSource, func() (bool, error) { return b.write(ctx, runner{lock.File()}, want) })
}

// Check implements redirect.Backend.
func (b Backend) Check(ctx context.Context, p redirect.Plan) error {
	want, err := b.render(p)
	if err != nil {
		return err
	}
	found, err := b.survey(ctx, runner{}, want)
	if err != nil {
		return err
	}
	use := b.holder(found)
	for _, s := range found {
		if s.toolset.variant != use.toolset.variant && s.holdsOurs() {
			return &redirect.Difference{
				Where: s.toolset.variant.String() + " tables", Want: "no chain of ours, which " + use.toolset.variant.String() + " holds", Got: "some",
			}
		}
	}
	for _, f := range families() {
		tool := use.toolset.tools[f]
		if err := compare(f, use.dumps[f], want.of(f), tool.exists); err != nil {
			return err
		}
	}
	return ipv6.CheckDialSource(want.dialSource)
}

// Remove implements redirect.Backend. Both variants are cleaned. The kernel
// forgets the translation of connections that are open, so the pod's proxy
// should have gone before.
func (b Backend) Remove(ctx context.Context) error {
	lock, err := nslock.Acquire(ctx)
	if err != nil {
		return err
	}
	defer lock.Release()
	found, err := b.survey(ctx, runner{lock.File()}, wanted{})
	if err != nil {
		return err
	}
	_, err = ipv6.Around(false, func() (bool, error) {
		for _, s := range found {
			if _, err := s.write(ctx, wanted{}); err != nil {
				return true, err
			}
		}
		return true, nil
	})
	return err
}

// render leaves out a family that the kernel lacks: there is nothing to steer.
func (b Backend) render(p redirect.Plan) (wanted, error) {
	p, err := ipv6.Reduce(p, b.withoutIPv6)
	if err != nil {
		return wanted{}, err
	}
	return render(p)
}

func (b Backend) hasIPv6() (bool, error) {
	if b.withoutIPv6 {
		return false, nil
	}
	return ipv6.Available()
}

// write makes the first variant that can hold our rules and nothing else of ours,
// and the others hold nothing of ours.
func (b Backend) write(ctx context.Context, r runner, want wanted) (changed bool, err error) {
	found, err := b.survey(ctx, r, want)
	if err != nil {
		return false, err
	}
	var refusals []error
	for i, s := range found {
		if !b.allows(s) {
			continue
		}
		changed, err := s.write(ctx, want)
		if err != nil {
			refusals = append(refusals, fmt.Errorf("%v: %w", s.toolset.variant, err))
			continue
		}
		for _, other := range slices.Delete(slices.Clone(found), i, i+1) {
			cleaned, err := other.write(ctx, wanted{})
			if err != nil {
				return true, fmt.Errorf("take the rules of %v away: %w", other.toolset.variant, err)
			}
			changed = changed || cleaned
		}
		return changed, nil
	}
	return false, errors.Join(refusals...)
}

func (b Backend) allows(s surveyed) bool { return b.Variant == Auto || b.Variant == s.toolset.variant }

// survey reads what each usable variant holds, in the order in which Apply
// tries them.
func (b Backend) survey(ctx context.Context, r runner, want wanted) ([]surveyed, error) {
	available, err := b.hasIPv6()
	if err != nil {
		return nil, err
	}
	sets, err := b.Variant.toolsets(available, want.ipv6())
	if err != nil {
		return nil, err
	}
	var found []surveyed
	var refusals []error
	for _, set := range sets {
		s, err := set.survey(ctx, r)
		if err != nil {
			refusals = append(refusals, err)
			continue
		}
		found = append(found, s)
	}
	if !slices.ContainsFunc(found, b.allows) {
		return nil, errors.Join(refusals...)
	}
	return preferred(found), nil
}

// preferred puts the legacy variant first where the namespace holds rules of
// it, since kernels before 4.18 take NAT of one variant alone. Otherwise
// nf_tables is first, as it is among the toolsets.
func preferred(found []surveyed) []surveyed {
	slices.SortStableFunc(found, func(a, b surveyed) int {
		return rank(a) - rank(b)
	})
	return found
}

func rank(s surveyed) int {
	if s.toolset.variant == Legacy && s.inUse() {
		return 0
	}
	return 1
}

// holder returns the variant that holds chains of ours, or else the one that
// Apply would try first.
func (b Backend) holder(found []surveyed) surveyed {
	allowed := slices.DeleteFunc(slices.Clone(found), func(s surveyed) bool { return !b.allows(s) })
	if i := slices.IndexFunc(allowed, surveyed.holdsOurs); i >= 0 {
		return allowed[i]
	}
	return allowed[0]
}
