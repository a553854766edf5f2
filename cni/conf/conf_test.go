// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/cni/conf"
	"github.com/shuntmesh/shunt/internal/deptest"
)

// TestDefault is what stands in conflists, key by key.
func TestDefault(t *testing.T) {
	e := conf.Default()
	e.Backend, e.BPFFS = "nftables", conf.DefaultBPFFS
	if err := e.Validate(); err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type":"shunt-cni","capabilities":{"` + conf.PodAnnotations + `":true},"backend":"nftables","socket":"/run/shunt/agent.sock","log":"/var/log/shunt-cni.log","bpffs":"/sys/fs/bpf"}`
	if string(got) != want {
		t.Errorf("entry %s, want %s", got, want)
	}
	var back conf.Entry
	if err := json.Unmarshal(got, &back); err != nil || back != e {
		t.Errorf("read back %+v, %v; want %+v", back, err, e)
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		change func(*conf.Entry)
		want   string // in the error; "" for none
	}{
		{func(*conf.Entry) {}, ""},
		{func(e *conf.Entry) { e.Backend, e.Socket, e.Log = "", "", "" }, ""},
		{func(e *conf.Entry) { e.Socket = "/" + strings.Repeat("s", 106) }, ""},
		{func(e *conf.Entry) { e.Socket = "/" + strings.Repeat("s", 107) }, "socket: value"},
		{func(e *conf.Entry) { e.Socket = "run/agent.sock" }, `socket: value "run/agent.sock" is not possible (allowed: an absolute path`},
		{func(e *conf.Entry) { e.Log = "cni.log" }, `log: value "cni.log"`},
		{func(e *conf.Entry) { e.BPFFS = "" }, ""},
		{func(e *conf.Entry) { e.BPFFS = "sys/fs/bpf" }, `bpffs: value "sys/fs/bpf" is not possible (allowed: an absolute path`},
		{func(e *conf.Entry) { e.Type = "" }, "type: value"},
	}
	for _, tt := range tests {
		e := conf.Default()
		tt.change(&e)
		err := e.Validate()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", e, err, tt.want)
		}
	}
}

func TestDeps(t *testing.T) {
	deptest.Check(t,
		deptest.Rule{Of: ".", Not: deptest.Module + "redirect", Because: "an entry is a few names; who writes it needs no backend"},
		deptest.Rule{Of: ".", Not: deptest.Module + "cni", Because: "plugin, agent and installer meet here"},
		deptest.Rule{Of: ".", Not: "net", Alone: true, Because: "it is pure"},
	)
}
