// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/internal/contract"
)

func TestListsUnderASign(t *testing.T) {
	defaults := []contract.PortRange{{First: 1, Last: 1}}
	for list, want := range map[string]string{
		"":          "",
		"+":         "1",
		"=":         "",
		"2":         "2",
		"+2,3-4":    "1,2,3-4",
		" + 2":      "1,2",
		"=2":        "2",
		"=2,+3":     `port "+3" is not a number`,
		"++2":       `port "+2" is not a number`,
		"=+2":       `port "+2" is not a number`,
		"+2,,3":     "out of range",
		"-2":        "out of range",
		"+9010-1":   "reversed",
		"＋80":       "not a number", // a full-width plus is no sign
		"+80\n":     "1,80",
		"+\t80, 81": "1,80,81",
	} {
		sign, rest := contract.CutSign(list)
		entries, err := contract.ParsePorts(rest)
		var got []string
		for _, r := range contract.Over(sign, defaults, entries) {
			got = append(got, r.String())
		}
		if err != nil {
			got = []string{err.Error()}
		}
		if text := strings.Join(got, ","); text != want && (err == nil || !strings.Contains(text, want)) {
			t.Errorf("%q: %s, want %s", list, text, want)
		}
	}
}

// FuzzCutSign puts a list together again, and adds to defaults without changing them.
func FuzzCutSign(f *testing.F) {
	f.Add("+8081,9000-9010")
	f.Add("=")
	f.Fuzz(func(t *testing.T, list string) {
		sign, rest := contract.CutSign(list)
		again := rest
		if sign != contract.Unsigned {
			again = string(sign) + rest
		}
		if again != strings.TrimSpace(list) {
			t.Errorf("%q: sign %q and %q", list, sign, rest)
		}
		defaults := make([]contract.PortRange, 1, 8)
		entries, err := contract.ParsePorts(rest)
		if err != nil {
			return
		}
		out := contract.Over(sign, defaults, entries)
		if len(out) > 0 {
			out[0].First++
		}
		if defaults[0].First != 0 || sign == contract.Add != (len(out) == len(entries)+1) {
			t.Errorf("%q: %v over %v", list, out, defaults)
		}
		if !slices.Equal(contract.Over(contract.Unsigned, defaults, entries), contract.Over(contract.Replace, defaults, entries)) {
			t.Errorf("%q: a flag without a sign does not replace", list)
		}
	})
}
