// SPDX-License-Identifier: Apache-2.0

package testimony_test

import (
	"testing"

	"github.com/shuntmesh/shunt/test/e2e/testimony"
)

func TestParse(t *testing.T) {
	want := testimony.Statement{Pod: "a-b", Life: "x1", Proxied: 3, Direct: 4}
	if got, err := testimony.Parse(want.String() + "\n"); got != want || err != nil {
		t.Errorf("%q: %+v, %v", want, got, err)
	}
	for _, line := range []string{"", "witness", "witness a b 1", "witness a b x 2", "other a b 1 2"} {
		if got, err := testimony.Parse(line); err == nil {
			t.Errorf("%q: %+v, want an error", line, got)
		}
	}
}
