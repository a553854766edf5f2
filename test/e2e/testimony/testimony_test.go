// SPDX-License-Identifier: Apache-2.0

package testimony_test

import (
	"net/netip"
	"testing"

	"github.com/shuntmesh/shunt/test/e2e/testimony"
)

func TestParse(t *testing.T) {
	for _, address := range []string{"10.88.1.7:4711", "[fd00::7]:1"} {
		want := testimony.Statement{Pod: "a-b", Life: "x1", Address: netip.MustParseAddrPort(address), Proxied: 3, Direct: 4}
		if got, err := testimony.Parse(want.String() + "\n"); got != want || err != nil {
			t.Errorf("%q: %+v, %v", want, got, err)
		}
	}
	for _, line := range []string{"", "witness", "witness a b c 1 2", "witness a b 10.0.0.1:1 x 2", "other a b 10.0.0.1:1 1 2"} {
		if got, err := testimony.Parse(line); err == nil {
			t.Errorf("%q: %+v, want an error", line, got)
		}
	}
}
