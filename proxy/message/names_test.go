// SPDX-License-Identifier: Apache-2.0

package message_test

import (
	"testing"

	"github.com/shuntmesh/shunt/proxy/message"
)

// TestNames: no name is of two kinds, and those that calls have in common are of
// none.
func TestNames(t *testing.T) {
	for name, want := range map[string][2]bool{
		"authorization": {true, false}, "cookie": {true, false}, "set-cookie": {true, false}, "proxy-authorization": {true, false},
		"grpc-timeout": {false, true}, "date": {false, true}, "traceparent": {false, true}, "x-request-id": {false, true},
		"x-b3-spanid":  {false, true},
		"content-type": {}, "user-agent": {}, "grpc-status": {}, "x-b3": {}, "": {},
	} {
		if got := [2]bool{message.Sensitive(name), message.Volatile(name)}; got != want {
			t.Errorf("%q: sensitive and volatile are %v, want %v", name, got, want)
		}
	}
}
