// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"strconv"
	"testing"
)

// The cases of gRPC's interop suite that need neither TLS nor an account of a
// cloud: github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md.
func interopCases() []string {
	return []string{
		"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
		"custom_metadata", "status_code_and_message", "special_status_message", "unimplemented_method",
		"unimplemented_service", "cancel_after_begin", "cancel_after_first_response", "timeout_on_sleeping_server",
	}
}

// TestInterop runs gRPC's own client against gRPC's own server, a sidecar on
// either side.
func TestInterop(t *testing.T) {
	passed := 0
	before := sum(t, mesh, "client", "shunt_proxy_requests_total", "outbound", "http2")
	for _, name := range interopCases() {
		t.Run(name, func(t *testing.T) {
			in(t, mesh, "client", "interop-client", "--server_host=interop", "--server_port=10000", "--test_case="+name)
			if !t.Failed() {
				passed++
			}
		})
	}
	// One case has a deadline of 1 ms, which may pass before a byte is sent.
	if after := sum(t, mesh, "client", "shunt_proxy_requests_total", "outbound", "http2"); after-before < float64(len(interopCases())-1) {
		t.Errorf("the client's proxy counted %v requests before and %v after: calls went around it", before, after)
	}
	figure("e2e.interop.passed", passed, "cases")
}

// TestPerRequest holds what the project is for: one connection, calls on every
// replica, also when the client's first byte comes a second late.
func TestPerRequest(t *testing.T) {
	for _, delay := range []string{"0s", "1s"} {
		t.Run("preface after "+delay, func(t *testing.T) {
			const calls = 3000
			pods := decode[map[string]int](t, in(t, mesh, "client", "app", "grpc", "-n", strconv.Itoa(calls), "-preface-delay", delay, "echo:50051"))
			if err := even(pods, 3, calls); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHTTP1PerRequest is the same for keep-alive connections of HTTP/1.1.
func TestHTTP1PerRequest(t *testing.T) {
	const calls = 300
	pods := map[string]int{}
	for _, line := range lines(in(t, mesh, "client", "app", "http", "-n", strconv.Itoa(calls), "http://echo/")) {
		pods[decode[answer](t, line).Pod]++
	}
	if err := even(pods, 3, calls); err != nil {
		t.Error(err)
	}
}

// even says whether no pod has more than 1.1 of its fair share.
func even(pods map[string]int, replicas, calls int) error {
	if len(pods) != replicas {
		return fmt.Errorf("%d pods answered, want %d: %v", len(pods), replicas, pods)
	}
	fair := float64(calls) / float64(replicas)
	for pod, n := range pods {
		if float64(n) > 1.1*fair {
			return fmt.Errorf("%s answered %d of %d calls, fair is %.0f: %v", pod, n, calls, fair, pods)
		}
	}
	return nil
}
