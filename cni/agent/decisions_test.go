// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect/backends"
)

func TestChoose(t *testing.T) {
	works := func(name string, auto bool) backends.Detected {
		return backends.Detected{Backend: name, Works: true, Auto: auto}
	}
	not := func(name, why string) backends.Detected { return backends.Detected{Backend: name, Why: why} }
	tests := []struct {
		want    string
		found   []backends.Detected
		backend string
		reason  string
	}{
		{"auto", []backends.Detected{works("nftables", true), works("iptables", false)}, "nftables", "the first that works here"},
		{
			"auto",
			[]backends.Detected{not("nftables", "apply:\n no nf_tables"), works("iptables", true)},
			"iptables",
			"the first that works here; nftables does not: apply: no nf_tables",
		},
		{"auto", []backends.Detected{not("nftables", "a"), not("iptables", "b")}, "", "no backend works here; nftables does not: a; iptables does not: b"},
		{"auto", nil, "", "no backend works here"},
		{"iptables", []backends.Detected{works("nftables", true), works("iptables", false)}, "iptables", "asked for by --backend, and it works here"},
		{"iptables", []backends.Detected{works("nftables", true), not("iptables", "no program")}, "", "iptables was asked for by --backend, and does not work here: no program"},
		{"auto", []backends.Detected{not("nftables", strings.Repeat("x", 5000))}, "", "no backend works here; nftables does not: " + strings.Repeat("x", contract.MaxNodeWords) + " ..."},
	}
	for _, tt := range tests {
		if got := choose(tt.want, tt.found); got != (choice{backend: tt.backend, reason: tt.reason}) {
			t.Errorf("%s of %+v: %+v, want %q since %q", tt.want, tt.found, got, tt.backend, tt.reason)
		}
	}
}

func TestHandover(t *testing.T) {
	for runtime, want := range map[string]string{
		"containerd://2.2.0":        contract.NodeHandedOver,
		"containerd://1.5.0":        contract.NodeHandedOver,
		"containerd://1.7.27-k3s1":  contract.NodeHandedOver,
		"containerd://v2.0-rc.1":    contract.NodeHandedOver,
		"containerd://1.10.0":       contract.NodeHandedOver,
		"containerd://1.4.13":       "fallback: containerd hands over annotations from 1.5 on, and this is 1.4.13",
		"cri-o://1.29.0":            contract.NodeHandedOver,
		"cri-o://1.28.11":           "fallback: cri-o hands over annotations from 1.29 on",
		"docker://27.1.1":           `unknown: nothing is known of "docker://27.1.1"`,
		"containerd://":             "unknown: the version in",
		"containerd://next.version": "unknown: the version in",
		"":                          "unknown: the Node has not been read yet",
	} {
		if got := handover(runtime, false); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", runtime, got, want)
		}
		if got := handover(runtime, true); !strings.HasPrefix(got, "fallback: the plugin was told of no annotations") {
			t.Errorf("%s, and the plugin has asked: %q", runtime, got)
		}
	}
}

// TestAnotherRuntime forgets what was seen of the one before.
func TestAnotherRuntime(t *testing.T) {
	s := newState()
	s.setAsked()
	if s.setRuntime("containerd://2.0.0"); s.get().Annotations == contract.NodeHandedOver {
		t.Error("what was seen does not beat what is known of versions")
	}
	if s.setRuntime("containerd://2.2.0"); s.get().Annotations != contract.NodeHandedOver {
		t.Errorf("after an upgrade: %q", s.get().Annotations)
	}
}
