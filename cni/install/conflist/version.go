// SPDX-License-Identifier: Apache-2.0

package conflist

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/version"

	"github.com/shuntmesh/shunt/cni/conf"
)

// checkVersion finds out whether our plugin speaks each version that a runtime
// could choose for the list. A runtime takes the highest that it knows, and it may
// know more of them than we do.
func checkVersion(text []byte) error {
	offered, err := offeredVersions(text)
	if err != nil {
		return err
	}
	known, usable := conf.Versions(), false
	for _, v := range offered {
		switch {
		case slices.Contains(known, v):
			usable = true
		case v != "" && !slices.Contains(version.Legacy.SupportedVersions(), v):
			return fmt.Errorf("%w: our plugin doesn't speak its cniVersion %q, only %s (update Shunt)", ErrUnsupported, v, strings.Join(known, ", "))
		}
	}
	if !usable {
		return fmt.Errorf("%w: its cniVersion %q has no lists of plugins (it has to be %s or newer)", ErrUnsupported, strings.Join(offered, ", "), known[0])
	}
	return nil
}

// offeredVersions reads cniVersions, which came with 1.1.0, and cniVersion. An
// absent cniVersion is the empty one.
func offeredVersions(text []byte) ([]string, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, fmt.Errorf("read its versions: %w", err)
	}
	var many []string
	if raw, ok := fields["cniVersions"]; ok {
		if err := json.Unmarshal(raw, &many); err != nil {
			return nil, fmt.Errorf("read cniVersions: %w", err)
		}
	}
	var one string
	if raw, ok := fields["cniVersion"]; ok {
		if err := json.Unmarshal(raw, &one); err != nil {
			return nil, fmt.Errorf("read cniVersion: %w", err)
		}
	}
	if one == "" && len(many) > 0 {
		return many, nil
	}
	return append(many, one), nil
}
