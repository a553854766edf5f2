// SPDX-License-Identifier: Apache-2.0

package grpcstatus_test

import (
	"strconv"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/shuntmesh/shunt/proxy/grpcstatus"
)

func TestFromHTTP2(t *testing.T) {
	for code, want := range map[uint32]codes.Code{
		0: codes.Internal, 1: codes.Internal, 7: codes.Unavailable, 8: codes.Canceled,
		11: codes.ResourceExhausted, 12: codes.PermissionDenied, 99: codes.Internal,
	} {
		if got := grpcstatus.FromHTTP2(code); got != strconv.Itoa(int(want)) {
			t.Errorf("code %d: %s, want %d", code, got, want)
		}
	}
}
