// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/internal/contract"
)

func TestParseCapture(t *testing.T) {
	for status, want := range map[string]contract.Capture{
		"":  {},
		" ": {},
		`{"version":"1","interception":"init","containers":["shunt-proxy"]}`: {Interception: "init"},
		`{"interception":"none"}`:                                {Interception: "none"},
		`{"interception":"cni","redirect":["-i","*","-x",""]}`:   {Interception: "cni", Redirect: []string{"-i", "*", "-x", ""}},
		"{\"interception\":\"cni\",\n\t\"redirect\":[\"-b\"]}\n": {Interception: "cni", Redirect: []string{"-b"}},
	} {
		got, err := contract.ParseCapture(status)
		if err != nil || got.Interception != want.Interception || !slices.Equal(got.Redirect, want.Redirect) {
			t.Errorf("%q: %+v, %v, want %+v", status, got, err, want)
		}
	}
	for status, want := range map[string]string{
		"{}":                       `interception is "" (allowed: init, cni, none)`,
		"null":                     `interception is ""`,
		"1":                        "remove it from the pod's template",
		"{":                        "shunt.dev/status",
		`{"interception":"magic"}`: `interception is "magic"`,
		`{"interception":"cni","redirect":"-i *"}`: "shunt.dev/status",
	} {
		if got, err := contract.ParseCapture(status); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want an error with %q", status, got, err, want)
		}
	}
}

func FuzzParseCapture(f *testing.F) {
	f.Add(`{"interception":"cni","redirect":["-i","*"]}`)
	f.Fuzz(func(t *testing.T, status string) {
		c, err := contract.ParseCapture(status)
		if err == nil && c.Interception == "" && (strings.TrimSpace(status) != "" || len(c.Redirect) > 0) {
			t.Errorf("%q reads as a pod that is not injected", status)
		}
	})
}
