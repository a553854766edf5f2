// SPDX-License-Identifier: Apache-2.0

package message

import (
	"slices"
	"strings"
)

// Field is one header field. It is immutable but for Again, and interned ones
// are shared by all connections of a worker.
type Field struct {
	Name  string // lower case
	Value string
	// Line is the field as an HTTP/1 peer wrote it, with CRLF; "" on HTTP/2.
	Line string
	// Sensitive fields are never put into a compression table (RFC 7541, 7.1.3).
	Sensitive bool
	// Again is set when an Interner has found the field once more: it is worth
	// a place in a compression table.
	Again bool
}

// Kind tells the heads of a message apart.
type Kind uint8

// The kinds.
const (
	Request Kind = iota
	Response
	Trailers
)

// Head is the control data and the header fields of a message, or its trailers.
// It is immutable. Fields that concern one hop only (RFC 9110, section 7.6.1)
// are not among Fields: a core consumes and makes them.
type Head struct {
	Kind Kind
	// Stable heads may be kept. Others are overwritten by the core that made
	// them, with the next head of any stream: CopyTo keeps one.
	Stable bool

	Method    string
	Scheme    string
	Authority string // :authority, or Host
	Path      string // :path, or the request target as it was written
	Protocol  string // of extended CONNECT (RFC 8441), or what Upgrade asks for

	Status int // 1xx is informational

	// ContentLength is -1 where none is given.
	ContentLength int64
	// GRPC is what IsGRPC says of content-type.
	GRPC   bool
	Fields []*Field
}

// IsGRPC tells a gRPC call by the content type of its request (gRPC over HTTP2,
// "Requests": application/grpc, +proto, +json and others, and the web's).
func IsGRPC(contentType string) bool { return strings.HasPrefix(contentType, "application/grpc") }

// Informational tells whether another head of the same message follows. 101 is
// final: what follows it is no HTTP.
func (h *Head) Informational() bool {
	return h.Kind == Response && h.Status >= 100 && h.Status < 200 && h.Status != 101
}

// Get returns the value of the first field of that lower-case name.
func (h *Head) Get(name string) (string, bool) {
	for _, f := range h.Fields {
		if f.Name == name {
			return f.Value, true
		}
	}
	return "", false
}

// CopyTo makes dst an equal head that stays as it is, reusing its memory. dst
// is not Stable: it belongs to the caller.
func (h *Head) CopyTo(dst *Head) {
	fields := append(dst.Fields[:0], h.Fields...)
	*dst = *h
	dst.Stable, dst.Fields = false, fields
}

// Without returns h, or a copy of it without the fields of these names.
func (h *Head) Without(names ...string) *Head {
	unwanted := func(f *Field) bool { return slices.Contains(names, f.Name) }
	if !slices.ContainsFunc(h.Fields, unwanted) {
		return h
	}
	out := *h
	out.Stable, out.Fields = false, slices.DeleteFunc(slices.Clone(h.Fields), unwanted)
	return &out
}
