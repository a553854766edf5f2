// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/internal/version"
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

// One part's failure ends the other, and is what join returns.
func TestJoin(t *testing.T) {
	fails := errors.New("port in use")
	ended := false
	err := join(t.Context(),
		func(context.Context) error { return fails },
		func(ctx context.Context) error { <-ctx.Done(); ended = true; return nil },
	)
	if !errors.Is(err, fails) || !ended {
		t.Errorf("join = %v, other part ended: %v", err, ended)
	}
}
