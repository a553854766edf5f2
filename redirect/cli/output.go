// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"sigs.k8s.io/yaml"

	"github.com/shuntmesh/shunt/redirect/iptables"
	"github.com/shuntmesh/shunt/redirect/nftables"
)

// The formats of -o.
const (
	formatText     = "text"
	formatJSON     = "json"
	formatYAML     = "yaml"
	formatNFT      = "nft"      // of print alone: input of nft -f
	formatIPTables = "iptables" // of print alone: input of iptables-restore
)

func formats(verb string) []string {
	common := []string{formatText, formatJSON, formatYAML}
	if verb == verbPrint {
		return append(common, formatNFT, formatIPTables)
	}
	return common
}

// print shows the plan.
func (c command) print(w io.Writer) error {
	switch c.format {
	case formatNFT:
		_, err := io.WriteString(w, nftables.Text(c.plan))
		return err
	case formatIPTables:
		text, err := iptables.Text(c.plan)
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		return err
	default:
		return write(w, c.format, c.plan, c.plan.String)
	}
}

// write renders a value as the format says; text says how it reads as text.
func write(w io.Writer, format string, value any, text func() string) error {
	if format == formatText {
		_, err := io.WriteString(w, text())
		return err
	}
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	data = append(data, '\n')
	if format == formatYAML {
		if data, err = yaml.JSONToYAML(data); err != nil {
			return fmt.Errorf("write YAML: %w", err)
		}
	}
	_, err = w.Write(data)
	return err
}
