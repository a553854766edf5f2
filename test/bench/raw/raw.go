// SPDX-License-Identifier: Apache-2.0

// Package raw is a grpc-go codec that leaves messages as bytes.
package raw

import (
	"fmt"

	"google.golang.org/grpc/mem"
)

// Frame is a message that is passed on without a copy: what Unmarshal put into
// it, Marshal gives away once.
type Frame struct{ data mem.BufferSlice }

// Codec marshals *Frame and, with a copy, *[]byte.
type Codec struct{}

// Marshal implements encoding.CodecV2.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *Frame:
		data := m.data
		m.data = nil
		return data, nil
	case *[]byte:
		return mem.BufferSlice{mem.SliceBuffer(*m)}, nil
	default:
		return nil, fmt.Errorf("marshal %T (only *raw.Frame and *[]byte are taken)", v)
	}
}

// Unmarshal implements encoding.CodecV2.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch m := v.(type) {
	case *Frame:
		data.Ref()
		m.data = data
	case *[]byte:
		*m = data.Materialize()
	default:
		return fmt.Errorf("unmarshal into %T (only *raw.Frame and *[]byte are taken)", v)
	}
	return nil
}

// Name is part of the content-type; what is carried was marshalled by somebody
// else.
func (Codec) Name() string { return "proto" }
