// SPDX-License-Identifier: Apache-2.0

package conflist

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/containernetworking/cni/libcni"
)

// savedSuffix ends the name of a .conf or .json that was converted. No runtime
// loads such a file.
const savedSuffix = ".shunt-saved"

// convert makes a list of a configuration of one plugin, as runtimes do when they
// load one: its name and version become the list's. The plugin's text stays,
// with its lines moved to the right.
func convert(text []byte) ([]byte, error) {
	conf, err := libcni.NetworkPluginConfFromBytes(text)
	if err != nil {
		return nil, fmt.Errorf("read as a CNI plugin: %w", err)
	}
	if conf.Network.Name == "" {
		return nil, errors.New("read as a CNI plugin: it has no name")
	}
	name, err := json.Marshal(conf.Network.Name)
	if err != nil {
		return nil, fmt.Errorf("write the name: %w", err)
	}
	version, err := json.Marshal(conf.Network.CNIVersion)
	if err != nil {
		return nil, fmt.Errorf("write cniVersion: %w", err)
	}
	// A line feed is never part of a JSON string, so that spaces behind one change
	// nothing.
	plugin := bytes.ReplaceAll(bytes.TrimSpace(text), []byte("\n"), []byte("\n    "))
	return fmt.Appendf(nil, "{\n  \"name\": %s,\n  \"cniVersion\": %s,\n  \"plugins\": [\n    %s\n  ]\n}\n", name, version, plugin), nil
}

// isSingle reports whether a file of this name holds one plugin, not a list.
func isSingle(name string) bool {
	ext := path.Ext(name)
	return ext == ".conf" || ext == ".json"
}

// listNames are the names that the conversion of a single configuration may have:
// the one that an installer would choose, and one that nobody else chooses, for
// where the first is taken. Both are loaded at the place of the original.
func listNames(single string) [2]string {
	return [2]string{strings.TrimSuffix(single, path.Ext(single)) + ".conflist", single + ".conflist"}
}

// convertedName chooses where to write the conversion of a single configuration: a
// name that is free, or that holds an earlier conversion by us.
func (d dir) convertedName(single File) string {
	names := listNames(single.Name)
	taken, exists := d.files[names[0]]
	if !exists || isConversion(taken, single) {
		return names[0]
	}
	if saved, ok := d.files[single.Name+savedSuffix]; ok && isConversion(taken, saved) {
		return names[0]
	}
	return names[1]
}

// isConversion reports whether the list says what the single configuration says,
// our plugin aside.
func isConversion(f, single File) bool {
	want, err := convert(single.Content)
	if err != nil {
		return false
	}
	l, err := parse(f.Content)
	if err != nil {
		return false
	}
	text, err := l.unchain()
	return err == nil && same(text, want)
}
