// SPDX-License-Identifier: Apache-2.0

package cni_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/shuntmesh/shunt/cni"
)

// errorOf reads an error result; its code is 0 where there is none.
func errorOf(t *testing.T, stdout string) types.Error {
	t.Helper()
	var e types.Error
	if err := json.Unmarshal([]byte(stdout), &e); err != nil && stdout != "" {
		t.Errorf("standard output is no JSON: %v: %s", err, stdout)
	}
	return e
}

// TestVerbs are the calls of the specification, and their errors by code.
func TestVerbs(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	env := func(pairs ...string) map[string]string {
		m := make(map[string]string)
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	tests := []struct {
		name    string
		call    invocation
		example string // of stdin
		code    uint   // 0 for success
		want    string // in the message and its details
		calls   string // to backends; where one fails, also with closed ports captured
	}{
		{"ADD", invocation{verb: "ADD"}, "injected-1.1.0", 0, "", "nftables apply"},
		{"ADD that the kernel refuses", invocation{verb: "ADD", env: env(fakeEnv, "broken")}, "injected-1.1.0", cni.CodeRefused, "apply rules: nftables: operation not permitted; shuntctl node status", "nftables apply"},
		{"ADD by a backend that can't work here", invocation{verb: "ADD", env: env(fakeEnv, "unsupported")}, "injected-1.1.0", cni.CodeRefused, "nftables: no such module", "nftables apply,nftables apply"},
		{"ADD by the first that works, and none does", invocation{verb: "ADD", env: env(fakeEnv, "unsupported")}, "backend-of-first-that-works", cni.CodeRefused, "iptables: no such module", "nftables apply,nftables apply,iptables apply,iptables apply"},
		{"ADD by eBPF, whose programs nobody has loaded yet", invocation{verb: "ADD", env: env(fakeEnv, "unloaded")}, "backend-of-node-ebpf", 0, "", "ebpf below /sys/fs/bpf apply,ebpf below /sys/fs/bpf apply,nftables apply"},
		{"ADD by eBPF, which is refused", invocation{verb: "ADD", env: env(fakeEnv, "broken")}, "backend-of-node-ebpf", cni.CodeRefused, "ebpf: operation not permitted", "ebpf below /sys/fs/bpf apply"},
		{"ADD while another redirect is at work", invocation{verb: "ADD", env: env(fakeEnv, "slow")}, "injected-1.1.0", types.ErrTryAgainLater, "deadline exceeded; the node may be overloaded", "nftables apply"},
		{"ADD to no namespace", invocation{verb: "ADD", netns: missing}, "injected-1.1.0", types.ErrInvalidEnvironmentVariables, "CNI_NETNS", ""},
		{"ADD to no namespace, not injected", invocation{verb: "ADD", netns: missing}, "not-injected", 0, "", ""},
		{"ADD to the node's own namespace", invocation{verb: "ADD", netns: "/proc/self/ns/net"}, "injected-1.1.0", types.ErrInvalidNetNS, "the node's own network namespace", ""},
		{"ADD to the node's own namespace by another name", invocation{verb: "ADD", netns: "/proc/thread-self/ns/net", env: env("CNI_NETNS_OVERRIDE", "1")}, "injected-1.1.0", types.ErrInvalidNetNS, "CNI_NETNS", ""},
		{"ADD without a container", invocation{verb: "ADD", env: env("CNI_CONTAINERID", "-")}, "injected-1.1.0", types.ErrInvalidEnvironmentVariables, "CNI_CONTAINERID", ""},
		{"ADD without a namespace", invocation{verb: "ADD", env: env("CNI_NETNS", "-")}, "injected-1.1.0", types.ErrInvalidEnvironmentVariables, "CNI_NETNS", ""},
		{"ADD without an interface", invocation{verb: "ADD", env: env("CNI_IFNAME", "-")}, "injected-1.1.0", types.ErrInvalidEnvironmentVariables, "CNI_IFNAME", ""},
		{"ADD without CNI_ARGS", invocation{verb: "ADD", env: env("CNI_ARGS", "-")}, "injected-1.1.0", 0, "", "nftables apply"},

		{"CHECK", invocation{verb: "CHECK"}, "injected-0.4.0", 0, "", "nftables check"},
		{"CHECK, not injected", invocation{verb: "CHECK"}, "not-injected", 0, "", ""},
		{"CHECK before there was one", invocation{verb: "CHECK"}, "injected-0.3.1", types.ErrIncompatibleCNIVersion, "does not allow CHECK", ""},
		{"CHECK finds a difference", invocation{verb: "CHECK", env: env(fakeEnv, "different")}, "injected-1.0.0", cni.CodeDifferent, "ipv4 inbound rule 2: want this, found that", "nftables check,nftables check"},
		{"CHECK can't tell", invocation{verb: "CHECK", env: env(fakeEnv, "broken")}, "injected-1.0.0", cni.CodeRefused, "check rules: operation not permitted", "nftables check,nftables check"},
		{"CHECK without prevResult", invocation{verb: "CHECK"}, "prevresult-missing", types.ErrInvalidNetworkConfig, "prevResult is missing", ""},
		{"CHECK of no namespace", invocation{verb: "CHECK", netns: missing}, "injected-1.0.0", types.ErrInvalidEnvironmentVariables, "CNI_NETNS", ""},

		{"DEL", invocation{verb: "DEL"}, "injected-1.1.0", 0, "", ""},
		{"DEL after the namespace has gone", invocation{verb: "DEL", netns: missing}, "injected-1.1.0", 0, "", ""},
		{"DEL without a namespace", invocation{verb: "DEL", env: env("CNI_NETNS", "-")}, "injected-0.3.1", 0, "", ""},
		{"DEL without prevResult", invocation{verb: "DEL"}, "prevresult-missing", 0, "", ""},
		{"DEL of a pod that could not be captured", invocation{verb: "DEL", env: env(fakeEnv, "broken")}, "status-broken", 0, "", ""},
		{"DEL with an entry of another version", invocation{verb: "DEL"}, "entry-wrong-type", 0, "", ""},
		{"DEL without annotations, agent or pod", invocation{verb: "DEL"}, "handed-over-nothing", 0, "", ""},
		{"DEL with no JSON", invocation{verb: "DEL"}, "truncated", types.ErrDecodingFailure, "network config", ""},

		{"STATUS", invocation{verb: "STATUS"}, "injected-1.1.0", 0, "", ""},
		{"STATUS without the agent", invocation{verb: "STATUS"}, "status-agent-away", 0, "", ""},
		{"STATUS before there was one", invocation{verb: "STATUS"}, "injected-1.0.0", types.ErrIncompatibleCNIVersion, "does not allow STATUS", ""},
		{"STATUS of an entry with which no pod starts", invocation{verb: "STATUS"}, "status-bad-entry", 50, "log: value", ""},
		{"GC", invocation{verb: "GC"}, "gc", 0, "", ""},
		{"GC before there was one", invocation{verb: "GC"}, "injected-1.0.0", types.ErrIncompatibleCNIVersion, "does not allow GC", ""},
		{"an unknown verb", invocation{verb: "UPDATE"}, "injected-1.1.0", types.ErrInvalidEnvironmentVariables, "UPDATE", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.call.stdin = stdinOf(t, tt.example)
			got := tt.call.run(t)
			if tt.code == 0 {
				if got.code != 0 || tt.call.verb != "ADD" && got.stdout != "" {
					t.Errorf("exit code %d, %s; want success", got.code, got.stdout)
				}
			} else if e := errorOf(t, got.stdout); got.code != 1 || e.Code != tt.code || !strings.Contains(e.Error(), tt.want) {
				t.Errorf("exit code %d, %d %q; want 1, %d %q", got.code, e.Code, e.Error(), tt.code, tt.want)
			}
			if got.calls != tt.calls {
				t.Errorf("asked of backends: %q, want %q", got.calls, tt.calls)
			}
		})
	}
}

// TestVersion tells the specification's versions, without a configuration.
func TestVersion(t *testing.T) {
	got := invocation{verb: "VERSION", stdin: `{"cniVersion":"1.0.0"}`}.run(t)
	var said struct {
		CNIVersion        string   `json:"cniVersion"`
		SupportedVersions []string `json:"supportedVersions"`
	}
	if err := json.Unmarshal([]byte(got.stdout), &said); err != nil || got.code != 0 {
		t.Fatalf("exit code %d, %v: %s", got.code, err, got.stdout)
	}
	if strings.Join(said.SupportedVersions, " ") != "0.3.0 0.3.1 0.4.0 1.0.0 1.1.0" || said.CNIVersion == "" {
		t.Errorf("%+v, want all versions that have lists of plugins", said)
	}
}

// TestAbout is what a person sees who starts it.
func TestAbout(t *testing.T) {
	got := invocation{env: map[string]string{"CNI_COMMAND": "-"}}.run(t)
	if got.code != 0 || got.stdout != "" || !strings.Contains(got.stderr, "CNI plugin") {
		t.Errorf("exit code %d, %q, %q; want its name on standard error", got.code, got.stdout, got.stderr)
	}
}
