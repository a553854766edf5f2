// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"context"
	"errors"

	"github.com/shuntmesh/shunt/redirect"
)

// Checked says what Inspect found, beside that all is as planned.
type Checked struct {
	// CapturesClosed says that closed ports are captured, which the plan leaves
	// open: whoever applied it could not tell who listens.
	CapturesClosed bool
}

// Inspect is Check that says which of the two rules a plan with
// MayCaptureClosed has come to.
func (c Choice) Inspect(ctx context.Context, p redirect.Plan) (Checked, error) {
	err := c.check(ctx, p)
	if err != nil && p.MayCaptureClosed && c.check(ctx, p.CapturingClosed()) == nil {
		return Checked{CapturesClosed: true}, nil
	}
	return Checked{}, err
}

// apply returns as unheard why closed ports are captured, if they are.
func (b Backend) apply(ctx context.Context, p redirect.Plan) (changed bool, unheard, err error) {
	changed, err = b.Apply(ctx, p)
	if !p.MayCaptureClosed || !errors.Is(err, errors.ErrUnsupported) {
		return changed, nil, err
	}
	unheard = err
	if changed, err = b.Apply(ctx, p.CapturingClosed()); err != nil {
		return false, nil, err // what it lacks beside
	}
	return changed, unheard, nil
}
