// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/iptables"
	"github.com/shuntmesh/shunt/redirect/nftables"
)

// backendAuto is the first backend that works here.
const backendAuto = "auto"

// Backend is a redirect.Backend under the name by which --backend chooses it.
type Backend struct {
	redirect.Backend
	Name string
	// Forced backends are part of one that is not, and chosen by name alone.
	Forced bool
}

// Backends returns all there are, in the order in which they are tried.
func Backends() []Backend {
	return []Backend{
		{nftables.Backend{}, "nftables", false},
		{iptables.Backend{}, "iptables", false},
		{iptables.Backend{Variant: iptables.NFT}, "iptables-nft", true},
		{iptables.Backend{Variant: iptables.Legacy}, "iptables-legacy", true},
	}
}

// backends are those that a command may use, in order, and those whose rules
// must not stand beside theirs.
type backends struct {
	use, others []Backend
}

func choose(name string, all []Backend) (backends, error) {
	var b backends
	names := []string{backendAuto}
	for _, candidate := range all {
		names = append(names, candidate.Name)
		switch {
		case candidate.Name == name, name == backendAuto && !candidate.Forced:
			b.use = append(b.use, candidate)
		case !candidate.Forced && !strings.HasPrefix(name, candidate.Name+"-"):
			b.others = append(b.others, candidate)
		}
	}
	if len(b.use) == 0 {
		return b, fmt.Errorf("--backend: value %q is not possible (allowed: %s)", name, strings.Join(names, ", "))
	}
	return b, nil
}

// apply uses the first backend that works. What others hold is taken away
// afterwards, so that no connection is missed in between.
func (b backends) apply(ctx context.Context, p redirect.Plan, warnings io.Writer) (said string, err error) {
	var refusals []error
	for i, candidate := range b.use {
		changed, err := candidate.Apply(ctx, p)
		if err != nil {
			refusals = append(refusals, fmt.Errorf("%s: %w", candidate.Name, err))
			if errors.Is(err, errors.ErrUnsupported) {
				continue
			}
			break
		}
		others := slices.Concat(b.others, slices.Delete(slices.Clone(b.use), i, i+1))
		cleaned, err := clean(ctx, others, warnings)
		if cleaned { // of the dial source as well, which both need
			_, errAgain := candidate.Apply(ctx, p)
			err = errors.Join(err, errAgain)
		}
		if err != nil {
			return "", err
		}
		if !changed && !cleaned {
			return "no change", nil
		}
		return "applied by " + candidate.Name, nil
	}
	return "", errors.Join(refusals...)
}

// clean removes what backends hold. One that can't work here can't remove
// either; what it may hold is said.
func clean(ctx context.Context, others []Backend, warnings io.Writer) (cleaned bool, err error) {
	for _, other := range others {
		holds, err := other.Holds(ctx)
		if err == nil && holds {
			err = other.Remove(ctx)
			cleaned = err == nil
		}
		switch {
		case holds && errors.Is(err, errors.ErrUnsupported):
			fmt.Fprintf(warnings, "redirect: rules of %s may be left: %v\n", other.Name, err)
		case err != nil && !errors.Is(err, errors.ErrUnsupported):
			return false, fmt.Errorf("remove the rules of %s: %w", other.Name, err)
		}
	}
	return cleaned, nil
}

// check asks the first backend that holds something, and where none does the
// first that works.
func (b backends) check(ctx context.Context, p redirect.Plan) error {
	order := slices.Clone(b.use)
	slices.SortStableFunc(order, func(x, y Backend) int { return emptiness(ctx, x) - emptiness(ctx, y) })
	var refusals []error
	for _, candidate := range order {
		err := candidate.Check(ctx, p)
		if !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		refusals = append(refusals, fmt.Errorf("%s: %w", candidate.Name, err))
	}
	return errors.Join(refusals...)
}

// emptiness sorts: 0 holds something, 1 doesn't, or can't tell.
func emptiness(ctx context.Context, b Backend) int {
	if holds, err := b.Holds(ctx); err == nil && holds {
		return 0
	}
	return 1
}

// remove cleans every backend that may be used. Those that can't work here hold
// nothing, unless they say so.
func (b backends) remove(ctx context.Context, warnings io.Writer) (said string, err error) {
	var refusals []error
	for _, candidate := range b.use {
		err := candidate.Remove(ctx)
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return "", err
		}
		if err == nil {
			continue
		}
		refusals = append(refusals, fmt.Errorf("%s: %w", candidate.Name, err))
		if holds, errHolds := candidate.Holds(ctx); errHolds == nil && holds {
			fmt.Fprintf(warnings, "redirect: rules of %s may be left: %v\n", candidate.Name, err)
		}
	}
	if len(refusals) == len(b.use) {
		return "", errors.Join(refusals...)
	}
	return "removed", nil
}
