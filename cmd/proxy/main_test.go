// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newWorld(env map[string]string) (world, *bytes.Buffer, *bytes.Buffer) {
	var stdout, stderr bytes.Buffer
	return world{env: func(k string) string { return env[k] }, stdout: &stdout, stderr: &stderr}, &stdout, &stderr
}

// TestBadCommandLines: the name, the value, and what is allowed.
func TestBadCommandLines(t *testing.T) {
	for _, tt := range []struct {
		args   string
		status int
		stderr string
	}{
		{"", 2, "Commands:"},
		{"walk", 2, "allowed: run, drain, wait, config-dump, stats, version"},
		{"run -drain-timeout soon", 2, `"soon" for flag -drain-timeout: "soon" is no such duration (allowed: 1ms or more, a number and a unit`},
		{"run -drain-timeout -1s", 2, "is no such duration"},
		{"run -drain-timeout 0", 2, `"0" is no such duration (allowed: 1ms or more`},
		{"run -max-streams many", 2, `"many" is no such number (allowed: 1 to 1048576)`},
		{"run -max-connections 0", 2, `"0" is no such number (allowed: 1 to 1048576)`},
		{"run -concurrency 0", 1, "option concurrency: 0 (allowed: 1 or more)"},
		{"run -pod-ips 10.0.0.7,x", 2, `flag pod-ips: "x" is no IP address (allowed: addresses separated by commas`},
		{"run -log-level loud", 2, `flag log-level: "loud" is no level (allowed: debug, info, warn, error)`},
		{"run -app-metrics 15090/metrics", 2, `"15090/metrics": port 15090 is the proxy's (allowed: ports other than`},
		{"run -app-metrics metrics", 2, "the port is not possible (allowed:"},
		{"run -merged-metrics-listen here", 1, `option merged-metrics-listen: "here" is no address (allowed: host:port or :port)`},
		{"run -outbound-listen here", 1, `option outbound-listen: "here" is no address (allowed: host:port or :port)`},
		{"run -no-such-flag", 2, "no-such-flag"},
		{"run now", 2, `unexpected argument "now"`},
		{"drain -admin-socket /nonexistent/s", 1, "is `proxy run` running in this container?"},
	} {
		w, _, stderr := newWorld(nil)
		status := w.main(t.Context(), strings.Fields(tt.args))
		if status != tt.status || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("proxy %s: status %d, %s\nwant %d, %s", tt.args, status, stderr, tt.status, tt.stderr)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	for args, want := range map[string]string{
		"help": "Commands:", "run -h": "-discovery-address", "drain -h": "-admin-socket", "config-dump -h": "-admin-socket",
		"stats -h": "-admin-socket", "version -h": "Usage: proxy version", "version": "go1.",
	} {
		w, stdout, stderr := newWorld(nil)
		if status := w.main(t.Context(), strings.Fields(args)); status != 0 || !strings.Contains(stdout.String(), want) || stderr.Len() > 0 {
			t.Errorf("proxy %s: status %d, %s%s", args, status, stdout, stderr)
		}
	}
}

// TestSettings: flags beat the environment, which the downward API fills.
func TestSettings(t *testing.T) {
	w, _, _ := newWorld(map[string]string{
		"POD_NAME": "greeter-1", "POD_NAMESPACE": "demo", "NODE_NAME": "node1", "POD_IPS": "10.0.0.7,fd00::7", "SHUNT_DISCOVERY_CA": "PEM",
	})
	s, err := w.settings(strings.Fields("-node node2 -drain-timeout 5s -max-streams 7"))
	if err != nil {
		t.Fatal(err)
	}
	got := []any{s.discovery.NodeID, string(s.discovery.CAPEM), s.proxy.PodIPs[0].String(), s.proxy.PodIPs[1].String(), s.proxy.DrainTimeout, s.proxy.HTTP2.MaxStreams}
	want := []any{"demo/greeter-1@node2", "PEM", "10.0.0.7", "fd00::7", 5 * time.Second, 7}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
