// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/internal/contract"
)

func TestParseInterfaces(t *testing.T) {
	for text, want := range map[string][]string{
		"": nil, " ": nil, "eth1": {"eth1"}, " eth1 , net1.100 ": {"eth1", "net1.100"}, "veth0@if3": {"veth0@if3"}, "abcdefghijklmno": {"abcdefghijklmno"},
	} {
		if got, err := contract.ParseInterfaces(text); !slices.Equal(got, want) || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{",", "eth1,", "eth+", "e*", "eth 1", "a/b", ".", "..", "abcdefghijklmnop", "eth\u00e9", "a;b", "-1", strings.Repeat("a,", 16) + "a"} {
		if got, err := contract.ParseInterfaces(text); err == nil || !strings.Contains(err.Error(), "allowed: names of 1 to 15") {
			t.Errorf("%q: %q, %v, want a refusal", text, got, err)
		}
	}
}

func FuzzParseInterfaces(f *testing.F) {
	f.Add("eth0,net1")
	f.Fuzz(func(t *testing.T, text string) {
		names, err := contract.ParseInterfaces(text)
		if err != nil {
			return
		}
		again, err := contract.ParseInterfaces(strings.Join(names, ","))
		if !slices.Equal(names, again) || err != nil {
			t.Errorf("%q is %q, and again %q, %v", text, names, again, err)
		}
	})
}
