// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shuntmesh/shunt/redirect"
)

// Applied says what Apply did.
type Applied struct {
	By      string // name of the backend that holds the rules now
	Changed bool
	// Instead is why those that would have come first can't do it here; nil where
	// By was the first.
	Instead error
	// CapturesClosed is why that backend can't tell who listens, where the plan
	// leaves it open and so closed ports are captured too; otherwise nil.
	CapturesClosed error
	Left           Left
}

// Left are backends that can't work here, so that what they hold of ours could
// not be taken away. Each error names one and says why.
type Left []error

// Apply uses the first backend that works. What others hold is taken away
// afterwards, so that no new connection is missed in between; those that are open
// lose the translation that they have from rules (see Keeping). It is idempotent.
// Left is told with an error too.
//
// A plan that may capture closed ports does so by a backend that works but for
// that: a kernel that lacks something is no reason to go over to another one.
func (c Choice) Apply(ctx context.Context, p redirect.Plan) (Applied, error) {
	var refusals []error
	for i, candidate := range c.use {
		changed, unheard, err := candidate.apply(ctx, p)
		if err != nil {
			refusals = append(refusals, fmt.Errorf("%s: %w", candidate.Name, err))
			if errors.Is(err, errors.ErrUnsupported) {
				continue
			}
			break
		}
		others := slices.Concat(c.others, slices.Delete(slices.Clone(c.use), i, i+1))
		cleaned, left, err := clean(ctx, others)
		if cleaned { // of the dial source as well, which both need
			_, _, errAgain := candidate.apply(ctx, p)
			err = errors.Join(err, errAgain)
		}
		return Applied{candidate.Name, changed || cleaned, errors.Join(refusals...), unheard, left}, err
	}
	return Applied{}, errors.Join(refusals...)
}

// Keeping returns a choice whose first is the backend that has rules in this
// namespace already, where one has. The kernel translates open connections by the
// rules under which they began: with another backend in their place it would
// forget them. Preferred backends have no rules, and nothing is lost by the change.
func (c Choice) Keeping(ctx context.Context) Choice {
	for _, b := range slices.Concat(c.use, c.others) {
		if b.Preferred || emptiness(ctx, b) > 0 {
			continue
		}
		is := func(other Backend) bool { return other.Name == b.Name }
		return Choice{
			use:    slices.Concat([]Backend{b}, slices.DeleteFunc(slices.Clone(c.use), is)),
			others: slices.DeleteFunc(slices.Clone(c.others), is),
			held:   c.held,
		}
	}
	return c
}

// clean removes what backends hold. One that can't work here can't remove
// either; what it may hold is said.
func clean(ctx context.Context, others []Backend) (cleaned bool, left Left, err error) {
	for _, other := range others {
		holds, err := other.Holds(ctx)
		if err == nil && holds {
			err = other.Remove(ctx)
			cleaned = cleaned || err == nil
		}
		switch {
		case holds && errors.Is(err, errors.ErrUnsupported):
			left = append(left, mayBeLeft(other, err))
		case err != nil && !errors.Is(err, errors.ErrUnsupported):
			return cleaned, left, fmt.Errorf("remove the rules of %s: %w", other.Name, err)
		}
	}
	return cleaned, left, nil
}

// Check asks the first backend that holds something, and where none does the
// first that works. Its errors are those of redirect.Backend. It takes closed
// ports captured where the plan leaves that open; Inspect tells.
func (c Choice) Check(ctx context.Context, p redirect.Plan) error {
	_, err := c.Inspect(ctx, p)
	return err
}

func (c Choice) check(ctx context.Context, p redirect.Plan) error {
	order := slices.Concat(c.use, c.held)
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

// Remove cleans every backend that may be used, or may have been. Those that can't work here hold
// nothing, unless they are Left; that none can is an error.
func (c Choice) Remove(ctx context.Context) (Left, error) {
	var left Left
	var refusals []error
	all := slices.Concat(c.use, c.held)
	for _, candidate := range all {
		err := candidate.Remove(ctx)
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return left, err
		}
		if err == nil {
			continue
		}
		refusals = append(refusals, fmt.Errorf("%s: %w", candidate.Name, err))
		if holds, errHolds := candidate.Holds(ctx); errHolds == nil && holds {
			left = append(left, mayBeLeft(candidate, err))
		}
	}
	if len(refusals) == len(all) {
		return left, errors.Join(refusals...)
	}
	return left, nil
}

func mayBeLeft(b Backend, err error) error {
	return fmt.Errorf("rules of %s may be left: %w", b.Name, err)
}
