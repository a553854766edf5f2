// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"bytes"
	"strconv"
	"testing"

	"github.com/shuntmesh/shunt/proxy/message"
)

// TestDeadlinesAllocateNothing: nor does a deadline that no call had before.
func TestDeadlinesAllocateNothing(t *testing.T) {
	const warm, measured = 200, 1000
	c, body, as := newChain(), bytes.Repeat([]byte("x"), 100), &caller{}
	var heads []*message.Head
	for i := range warm + measured + 1 {
		h := grpcRequest()
		h.Stable = false
		h.Fields = append(h.Fields, &message.Field{Name: "grpc-timeout", Value: strconv.Itoa(100000+i) + "u"})
		heads = append(heads, h)
	}
	next := func() {
		c.call(heads[0], body, as)
		heads = heads[1:]
	}
	for range warm {
		next()
	}
	if n := testing.AllocsPerRun(measured, next); n > poolDrops {
		t.Errorf("%v allocations in a call", n)
	}
	if c.replies != warm+measured+1 {
		t.Errorf("%d replies", c.replies)
	}
}
