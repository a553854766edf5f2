// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/redirect/conformance"
)

var update = flag.Bool("update", false, "write the golden file")

// TestProductGolden writes down how large each part of the product is, and what
// is left out and why, so that no part goes missing unseen.
func TestProductGolden(t *testing.T) {
	var b strings.Builder
	cells := 0
	excluded := map[string]int{}
	for _, s := range conformance.Settings() {
		n := 0
		for c := range s.Product() {
			if e := conformance.Excluded(c); e != nil {
				excluded[e.Name]++
				continue
			}
			n++
		}
		fmt.Fprintf(&b, "%5d  %s\n", n, s.Name)
		cells += n
	}
	fmt.Fprintf(&b, "%5d  cells\n\n", cells)
	for _, e := range conformance.Exclusions() {
		fmt.Fprintf(&b, "%5d  %s: %s\n", excluded[e.Name], e.Name, e.Reason)
	}
	const path = "testdata/product.golden"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// TestCellsAreDistinct as packets, not only by name.
func TestCellsAreDistinct(t *testing.T) {
	for _, s := range conformance.Settings() {
		seen := map[string]conformance.Cell{}
		for _, c := range s.Cells() {
			key := fmt.Sprint(c.Direction == conformance.Inbound, c.Sender, c.Transport, c.Client, c.Source(), c.Dest(), c.Listening)
			if other, ok := seen[key]; ok {
				t.Errorf("%v is the same as %v", c, other)
			}
			seen[key] = c
		}
	}
}

// TestEveryVerdictOccurs for each setting that captures, so that a model that
// answers the same to all would be seen.
func TestEveryVerdictOccurs(t *testing.T) {
	for _, s := range conformance.Settings() {
		seen := map[string]bool{}
		for _, c := range s.Cells() {
			seen[c.Want().At] = true
		}
		capturesOutbound := slices.ContainsFunc(s.Aims, func(a conformance.Aim) bool { return a.Out })
		for at, want := range map[string]bool{
			conformance.AtOutbound: capturesOutbound, conformance.AtInbound: true,
			conformance.AtApplication: true, conformance.AtOutside: true, conformance.Refused: true,
		} {
			if seen[at] != want {
				t.Errorf("%s: some connection arrives at %s: %v, want %v", s.Name, at, seen[at], want)
			}
		}
	}
}
