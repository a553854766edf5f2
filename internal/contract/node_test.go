// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/internal/contract"
)

func TestParseNode(t *testing.T) {
	want := contract.Node{Version: "1", Backend: "nftables", Reason: "it works", Plugin: contract.NodeInstalled, Annotations: contract.NodeHandedOver}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]contract.Node{"": {}, " ": {}, string(text): want} {
		if got, err := contract.ParseNode(value); got != want || err != nil {
			t.Errorf("%q: %+v, %v", value, got, err)
		}
	}
	if _, err := contract.ParseNode("installed"); err == nil || !strings.Contains(err.Error(), contract.AnnotationNode) {
		t.Errorf("no JSON: %v", err)
	}
}
