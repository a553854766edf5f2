// SPDX-License-Identifier: Apache-2.0

package message

import "strings"

// Sensitive tells of a lower-case name that nobody shall be able to guess the
// values of by what compresses well (RFC 7541, 7.1.3), or by what is found
// quickly.
func Sensitive(name string) bool {
	switch name {
	case "authorization", "cookie", "proxy-authorization", "set-cookie":
		return true
	}
	return false
}

// Volatile tells of a lower-case name whose values rarely come twice, or not for
// long: what remembers fields would only lose better ones to them.
func Volatile(name string) bool {
	switch name {
	// Of this call alone.
	case "grpc-message", "grpc-status-details-bin", "grpc-timeout":
		return true

	// Of this content, or of this second.
	case "age", "content-length", "content-range", "date", "etag", "expires", "if-match", "if-modified-since",
		"if-none-match", "if-range", "if-unmodified-since", "last-modified", "location", "range", "server-timing":
		return true

	// Of this trace: W3C, OpenCensus, B3, Jaeger, Datadog, AWS, Google Cloud,
	// SkyWalking.
	case "traceparent", "tracestate", "baggage", "grpc-trace-bin", "grpc-tags-bin", "b3", "uber-trace-id",
		"x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-tags", "x-amzn-trace-id", "x-cloud-trace-context",
		"sw8", "sw8-correlation":
		return true

	// Of this request.
	case "request-id", "x-request-id", "x-correlation-id", "x-request-start", "idempotency-key", "x-response-time",
		"x-runtime", "x-envoy-expected-rq-timeout-ms", "x-envoy-upstream-service-time", "sec-websocket-key",
		"sec-websocket-accept":
		return true
	}
	return strings.HasPrefix(name, "x-b3-")
}
