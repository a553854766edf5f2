// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// TestExcludeInbound holds that an excluded port goes around the proxy: its
// counters stand still and the app sees the caller's address, not the proxy's.
func TestExcludeInbound(t *testing.T) {
	const pod = "inbound-excluded"
	ip, caller := podIP(t, mesh, pod), podIP(t, plain, "client")

	before := proxied(t, mesh, pod, "inbound", "")
	got := ask(t, plain, "client", "app", "http", "http://"+ip+":8080/")
	if host, _, _ := strings.Cut(got.Remote, ":"); host != caller {
		t.Errorf("excluded port: the app saw %s, want its caller %s", got.Remote, caller)
	}
	if after := proxied(t, mesh, pod, "inbound", ""); after != before {
		t.Errorf("excluded port: the proxy's inbound count went from %v to %v", before, after)
	}

	got = ask(t, plain, "client", "app", "tcp", ip+":9000")
	if host, _, _ := strings.Cut(got.Remote, ":"); host != "127.0.0.6" {
		t.Errorf("port that is not excluded: the app saw %s, want the proxy's 127.0.0.6", got.Remote)
	}
	if after := proxied(t, mesh, pod, "inbound", ""); after <= before {
		t.Errorf("port that is not excluded: the proxy's inbound count stayed at %v", before)
	}
}

// TestExcludeOutbound is the same for the way out, with Istio's annotation.
func TestExcludeOutbound(t *testing.T) {
	const pod = "outbound-excluded"
	before := proxied(t, mesh, pod, "outbound", "")
	in(t, mesh, pod, "app", "http", "http://echo."+plain+"/")
	if after := proxied(t, mesh, pod, "outbound", ""); after != before {
		t.Errorf("excluded port: the proxy's outbound count went from %v to %v", before, after)
	}
	in(t, mesh, pod, "app", "tcp", "echo."+mesh+":9000")
	if after := proxied(t, mesh, pod, "outbound", ""); after <= before {
		t.Errorf("port that is not excluded: the proxy's outbound count stayed at %v", before)
	}
}
