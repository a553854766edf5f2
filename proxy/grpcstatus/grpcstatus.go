// SPDX-License-Identifier: Apache-2.0

// Package grpcstatus knows how gRPC says on HTTP/2 what became of a call. It
// is pure.
package grpcstatus

// Unavailable is the status of a call that the proxy could not deliver: clients
// may send it again.
const Unavailable = "14"

// DeadlineExceeded is the status of a call whose grpc-timeout is over.
const DeadlineExceeded = "4"

// ResourceExhausted is the status of a call that is too large for the endpoint.
const ResourceExhausted = "8"

// FromHTTP2 maps the code of a RST_STREAM (gRPC over HTTP2, "Errors").
func FromHTTP2(code uint32) string {
	switch code {
	case 7: // REFUSED_STREAM
		return Unavailable
	case 8: // CANCEL
		return "1" // CANCELLED
	case 11: // ENHANCE_YOUR_CALM
		return "8" // RESOURCE_EXHAUSTED
	case 12: // INADEQUATE_SECURITY
		return "7" // PERMISSION_DENIED
	default:
		return "13" // INTERNAL
	}
}
