// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/version"
	"github.com/shuntmesh/shunt/webhook/inject"
)

func TestParse(t *testing.T) {
	o, err := parse(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	i := o.inject("PEM", true)
	if i.Image != "shunt.dev/dataplane:"+version.Version || i.PullPolicy != "IfNotPresent" || i.DiscoveryAddress != "shunt-discovery.shunt-system.svc:15012" || i.DiscoveryCA != "PEM" {
		t.Errorf("defaults %+v", i)
	}
	if o.listen != ":8443" || o.controlListen != ":15014" || o.namespace != "shunt-system" {
		t.Errorf("defaults %+v", o)
	}
	tests := []struct{ flag, words string }{
		{"--image=", "read --image"},
		{"--image-pull-policy=Sometimes", `"Sometimes" is unknown (allowed: Always, IfNotPresent, Never)`},
		{"--discovery-address=nowhere", "host:port"},
		{"--discovery-address=", ""},
		{"--log-level=loud", "log-level"},
		{"--native-sidecars=maybe", `"maybe" is unknown (allowed: auto, on, off)`},
		{"--capture=ebpf", `read --capture: "ebpf" is unknown (allowed: init, cni)`},
		{"--capture=cni", ""},
		{"--never-inject=app==,", "a label selector such as app=web"},
		{"--always-inject=", "would match every pod"},
		{"--image-pull-secret=Not_A_Name", `"Not_A_Name" is no name of a Secret`},
		{"--linger=-1s", "-1s is out of range (allowed: 0s to 20s)"},
		{"serve", `"serve" is one too many`},
	}
	for _, tt := range tests {
		_, err := parse([]string{tt.flag}, io.Discard)
		if (err == nil) != (tt.words == "") || err != nil && !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s: error %v, want one with %q", tt.flag, err, tt.words)
		}
	}
}

// What the flags say comes out at /config, where shuntctl reads it.
func TestConfig(t *testing.T) {
	o, err := parse([]string{"--istio-compat", "--never-inject=app in (a,b)", "--always-inject=x", "--inject-by-default", "--native-sidecars=off"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	p := &parts{inject: func() inject.Options { return o.inject("CA", true) }}
	recorder := httptest.NewRecorder()
	p.config(recorder, httptest.NewRequest(http.MethodGet, contract.PathWebhookConfig, nil))
	var got inject.Options
	if err := json.Unmarshal(recorder.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if !got.IstioCompat || !got.ByDefault || !got.ClassicSidecars || got.Image != o.image || got.Version != version.Version ||
		len(got.Never) != 1 || got.Never[0].String() != "app in (a,b)" || len(got.Always) != 1 {
		t.Errorf("%s", recorder.Body)
	}
}
