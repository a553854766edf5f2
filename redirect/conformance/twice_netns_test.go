// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"errors"
	"testing"

	"github.com/shuntmesh/shunt/redirect/conformance"
)

// TestTwiceAtOnce has two processes apply at the same time. With one Config
// both succeed or one of them says why not, and the result is that Config. With
// two the result is one of them, or at the least nothing that is neither, and
// check says so.
func TestTwiceAtOnce(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			for _, c := range s.changes(t) {
				b.serve(t, c.While)
				same := conformance.Change{Name: c.Name, Old: c.New, New: c.New, While: c.While}
				for range rounds(t, c) {
					b.remove(t, s)
					b.applyBoth(t, s, same)
					if err := b.check(t, s, c.New.Config); err != nil {
						t.Errorf("%s twice: check: %v", c.Name, err)
					}
					if !c.Old.Off {
						b.applyBoth(t, s, c)
					}
				}
			}
		})
	}
}

// applyBoth applies both sides of a change at once, and looks at the result.
func (b *bed) applyBoth(t *testing.T, s subject, c conformance.Change) {
	t.Helper()
	one, other := newApplier(t, b.pod, s, c.Old.Config), newApplier(t, b.pod, s, c.New.Config)
	if err := errors.Join(one.start(), other.start()); err != nil {
		t.Fatal(err)
	}
	oneErr, otherErr := one.wait(), other.wait()
	if oneErr != nil && otherErr != nil {
		t.Errorf("%s: both applies failed: %v; %v", c.Name, oneErr, otherErr)
	}
	seen := b.observe(c)
	for _, err := range seen.bypasses {
		t.Errorf("%s: %v", c.Name, err)
	}
	if err := errors.Join(
		seen.confirm(b.check(t, s, c.Old.Config), "one's", seen.asOld),
		seen.confirm(b.check(t, s, c.New.Config), "the other's", seen.asNew),
	); err != nil {
		t.Errorf("%s: %v", c.Name, err)
	}
	if seen.asOld != seen.probes && seen.asNew != seen.probes {
		t.Errorf("%s: a mixture: of %d connections %d are as one says and %d as the other", c.Name, seen.probes, seen.asOld, seen.asNew)
	}
}
