// SPDX-License-Identifier: Apache-2.0

package programs

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect/ebpf"
)

func TestRootIn(t *testing.T) {
	tests := []struct{ text, want, err string }{
		{"0::/kubepods/burstable/pod1/agent\n", "/", ""},
		{"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-1.scope\n", "/", ""},
		{"12:pids:/x/kubepods/pod1\n1:name=systemd:/y\n0::/node1/kubepods/besteffort/pod1/agent\n", "/node1", ""},
		{"0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod1.slice/cri-1.scope\n", "/kubelet.slice", ""},
		{"0::/kubepods/pod1/node/kubelet/kubepods/burstable/pod2/agent\n", "/kubepods/pod1/node/kubelet", ""},
		{"0::/system.slice/agent.service\n", "", `this process is in "/system.slice/agent.service", which is no pod's (--cgroup-root`},
		{"0::/\n", "", `is in "/"`},
		{"0::/../../kubepods/pod1/agent\n", "", "above what the host"},
		{"12:pids:/kubepods/pod1\n", "", "in none of version 2"},
		{"", "", "in none of version 2"},
	}
	for _, tt := range tests {
		got, err := rootIn(tt.text)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %q, %v; want %q, %q", tt.text, got, err, tt.want, tt.err)
		}
	}
}

func TestDecide(t *testing.T) {
	passed, failed := func(n int) tests { return tests{passed: n} }, func(n int) tests { return tests{failed: n} }
	for _, tt := range []struct {
		mode  Mode
		tests tests
		pods  int
		want  step
	}{
		{Used, passed(1), 0, stay},
		{Used, failed(1), 5, repair},
		{Used, failed(2), 5, stay},
		{Used, failed(3), 5, change},
		{Used, failed(4), 0, change},
		{Used, passed(99), 5, stay},
		{Standby, tests{}, 0, stay},
		{Standby, failed(1), 0, repair},
		{Standby, failed(9), 5, stay},
		{Standby, passed(4), 5, stay},
		{Standby, passed(5), 0, change},
		{Unwanted, passed(9), 5, stay},
		{Unwanted, failed(1), 5, repair},
		{Unwanted, failed(9), 5, stay},
		{Unwanted, passed(1), 0, takeAway},
		{Unwanted, failed(1), 0, takeAway},
		{Unwanted, tests{}, unknown, stay},
	} {
		if got := decide(tt.mode, tt.tests, tt.pods); got != tt.want {
			t.Errorf("mode %d, %+v, %d pods: step %d, want %d", tt.mode, tt.tests, tt.pods, got, tt.want)
		}
	}
	if got := failed(2).after(true); got != passed(1) {
		t.Errorf("passed after two failures: %+v", got)
	}
}

func TestWorthTelling(t *testing.T) {
	now := func(pods int, captured uint64, words string) *contract.NodePrograms {
		return &contract.NodePrograms{Pods: pods, Counters: map[string]uint64{"captured": captured}, SelfTest: words}
	}
	for name, tt := range map[string]struct {
		told, now *contract.NodePrograms
		age       time.Duration
		want      bool
	}{
		"nothing there":               {nil, nil, time.Hour, false},
		"loaded":                      {nil, now(0, 0, "passed"), 0, true},
		"taken away":                  {now(0, 0, "passed"), nil, 0, true},
		"the same":                    {now(1, 2, "passed"), now(1, 2, "passed"), time.Hour, false},
		"a test that fails":           {now(1, 2, "passed"), now(1, 2, "outbound"), 0, true},
		"numbers, told a moment ago":  {now(1, 2, "passed"), now(2, 3, "passed"), time.Minute, false},
		"numbers, told some time ago": {now(1, 2, "passed"), now(2, 3, "passed"), countPeriod, true},
	} {
		if got := worthTelling(tt.told, tt.now, tt.age); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestSummarize(t *testing.T) {
	s := ebpf.Status{Layout: "v1", Pods: 2, Programs: []ebpf.ProgramStatus{{Name: "a", Tag: "1", Attached: true}, {Name: "b"}}, Maps: []ebpf.MapStatus{{Name: "m", Most: 3, Bytes: 4}}}
	others := []ebpf.Other{{Hook: "connect4", Program: "cil_sock4_connect", Owner: "Cilium"}}
	got := summarize(s, others, "/root", nil)
	if got.Attached() != 1 || got.Pods != 2 || got.SelfTest != contract.NodePassed || got.Maps[0] != (contract.NodeMap{Name: "m", Most: 3, Bytes: 4}) ||
		got.Others[0] != "cil_sock4_connect at connect4 (Cilium)" || got.ControlGroup != "/root" {
		t.Errorf("%+v", got)
	}
	long := strings.Repeat("no\n", 500)
	if got := summarize(s, nil, "", errors.New(long)).SelfTest; len(got) > contract.MaxNodeWords+4 || strings.Contains(got, "\n") {
		t.Errorf("self-test %q", got)
	}
}
