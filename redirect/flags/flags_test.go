// SPDX-License-Identifier: Apache-2.0

package flags_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/internal/deptest"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/flags"
)

func TestParse(t *testing.T) {
	captureAll := redirect.DefaultConfig()
	captureAll.IncludeInboundPorts.All, captureAll.IncludeOutboundCIDRs.All = true, true
	captureClosed := captureAll
	captureClosed.ClosedPorts = redirect.ClosedCapture
	groups := redirect.DefaultConfig()
	groups.ProxyUIDs, groups.ProxyGIDs = []uint32{7}, []uint32{7}
	tests := []struct {
		args string // fields; % stands for an empty value
		want flags.Parsed
	}{
		{"", flags.Parsed{Config: redirect.DefaultConfig()}},
		{"-p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x % -b * -d 15090,15020,15021", flags.Parsed{Config: captureAll}},
		{"-b=* -i * --backend iptables", flags.Parsed{Config: captureAll, Backend: "iptables"}},
		{"--backend auto", flags.Parsed{Config: redirect.DefaultConfig(), Backend: "auto"}},
		{"--native-nftables", flags.Parsed{Config: redirect.DefaultConfig(), Backend: "nftables"}},
		{"--force-iptables-binary legacy --redirect-dns=false", flags.Parsed{Config: redirect.DefaultConfig(), Backend: "iptables-legacy"}},
		{"-u 7", flags.Parsed{Config: groups}},
		{"-b * -i * --closed-ports capture", flags.Parsed{Config: captureClosed}},
		{"-b * -i * --closed-ports=auto", flags.Parsed{Config: captureAll}},
	}
	for _, tt := range tests {
		got, err := flags.Parse(fields(tt.args))
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
			continue
		}
		if diff := cmp.Diff(planOf(t, tt.want), planOf(t, got)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.args, diff)
		}
	}
}

func planOf(t *testing.T, p flags.Parsed) string {
	t.Helper()
	plan, err := redirect.NewPlan(p.Config)
	if err != nil {
		t.Fatal(err)
	}
	return "backend " + p.Backend + "\n" + plan.String()
}

func fields(args string) []string {
	out := strings.Fields(args)
	for i := range out {
		out[i] = strings.ReplaceAll(out[i], "%", "")
	}
	return out
}

// TestRefused are what a line for the node must not hold, among them every flag
// of the command that names a file, a namespace or an output.
func TestRefused(t *testing.T) {
	for args, want := range map[string]string{
		"--netns /proc/1/ns/net":             "not defined: -netns",
		"--network-namespace /proc/1/ns/net": "not defined: -network-namespace",
		"--dry-run":                          "not defined: -dry-run",
		"-n":                                 "not defined: -n",
		"--output json":                      "not defined: -output",
		"-u istio-proxy":                     "names mean nothing",
		"--backend %":                        "leave the flag away",
		"--redirect-dns":                     "DNS proxy",
		"-b http":                            "1 to 65535",
		"--closed-ports drop":                "allowed: refuse, capture, or auto",
		"15001":                              `unexpected argument "15001"`,
		"-h":                                 "help",
	} {
		if got, err := flags.Parse(fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want an error that says %q", args, got, err, want)
		}
	}
}

func TestDeps(t *testing.T) {
	deptest.Check(t,
		deptest.Rule{Of: ".", Not: deptest.Module + "redirect/backends", Because: "what is asked for is read without what makes it true"},
		deptest.Rule{Of: ".", Not: "golang.org/x/sys", Because: "reading flags is pure"},
		deptest.Rule{Of: ".", Not: "os/user", Because: "a uid is a number: no user database is asked"},
		deptest.Rule{Of: ".", Not: "os", Direct: true, Because: "no environment and no file is read"},
	)
}
