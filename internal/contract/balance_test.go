// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"testing"

	"github.com/shuntmesh/shunt/internal/contract"
)

func TestParseBalance(t *testing.T) {
	tests := []struct {
		value string
		want  contract.Balance
		err   string
	}{
		{value: "", want: contract.BalanceProxy},
		{value: "proxy", want: contract.BalanceProxy},
		{value: "connect", want: contract.BalanceConnect},
		{value: "Connect", err: `read annotation shunt.dev/balance: "Connect" is unknown (allowed: connect, proxy)`},
		{value: " connect", err: `read annotation shunt.dev/balance: " connect" is unknown (allowed: connect, proxy)`},
	}
	for _, tt := range tests {
		got, err := contract.ParseBalance(tt.value)
		said := ""
		if err != nil {
			said = err.Error()
		}
		if got != tt.want || said != tt.err {
			t.Errorf("ParseBalance(%q): %q, %q; want %q, %q", tt.value, got, said, tt.want, tt.err)
		}
	}
}
