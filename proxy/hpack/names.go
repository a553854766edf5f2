// SPDX-License-Identifier: Apache-2.0

package hpack

import "strings"

// nature is how fields of a name are to be treated.
type nature uint8

const (
	// ordinary fields are worth remembering once they came twice.
	ordinary nature = iota
	// volatile fields rarely come twice, or not for long. Neither an interner
	// nor our dynamic table has them: they would only push others out.
	volatile
	// sensitive fields are never put into a table, neither ours nor that of
	// anybody further down, so that nobody can guess them by what compresses
	// well (section 7.1.3). An interner would tell by its timing.
	sensitive
)

// natureOf tells what a field is like, by its name and whether its value is
// empty: that is no value to change, and gRPC servers end each call with an
// empty grpc-message.
func natureOf(name string, empty bool) nature {
	switch name {
	case "authorization", "cookie", "proxy-authorization", "set-cookie":
		return sensitive
	}
	if !empty && isVolatile(name) {
		return volatile
	}
	return ordinary
}

// isVolatile knows the names whose values change.
func isVolatile(name string) bool {
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
