// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/coreos/go-iptables/iptables"

	"github.com/shuntmesh/shunt/redirect"
)

// Variant is a kernel interface that iptables exists for.
type Variant uint8

// The variants. A namespace may hold rules of both.
const (
	Auto   Variant = iota // what works, and what the namespace holds already
	NFT                   // nf_tables behind iptables' syntax
	Legacy                // xtables
)

// String returns "iptables", "iptables-nft" or "iptables-legacy".
func (v Variant) String() string {
	switch v {
	case NFT:
		return "iptables-nft"
	case Legacy:
		return "iptables-legacy"
	default:
		return "iptables"
	}
}

// waitSeconds bounds the wait for the lock of the legacy variant.
const waitSeconds = 5

// tool is one variant's programs for one family.
type tool struct {
	family redirect.Family
	ipt    *iptables.IPTables

	program, save, restore string // paths
}

// toolset is one variant. A family that the kernel lacks has no tool, and one
// that is not planned may have none.
type toolset struct {
	variant Variant
	tools   map[redirect.Family]tool
}

func families() []redirect.Family { return []redirect.Family{redirect.IPv4, redirect.IPv6} }

// toolsets finds the programs of both variants, nf_tables first, of which v
// must be one. A variant that lacks a family which is wanted counts as missing.
func (v Variant) toolsets(availableIPv6, wantIPv6 bool) ([]toolset, error) {
	var out []toolset
	var missing []error
	for _, variant := range []Variant{NFT, Legacy} {
		set, err := findSet(variant, availableIPv6, wantIPv6)
		switch {
		case err == nil:
			out = append(out, set)
		case v == Auto || v == variant:
			missing = append(missing, err)
		}
	}
	if v == Auto && len(out) == 0 || v != Auto && len(missing) > 0 {
		return nil, errors.Join(missing...)
	}
	return out, nil
}

func findSet(v Variant, availableIPv6, wantIPv6 bool) (toolset, error) {
	set := toolset{v, make(map[redirect.Family]tool)}
	var missing []error
	for _, f := range families() {
		if f == redirect.IPv6 && !availableIPv6 {
			continue
		}
		t, err := find(v, f)
		if err == nil {
			set.tools[f] = t
		} else if f == redirect.IPv4 || wantIPv6 {
			missing = append(missing, err)
		}
	}
	return set, errors.Join(missing...)
}

// find looks for the program that names its variant, such as iptables-nft, and
// then for one without, of which its version tells.
func find(v Variant, f redirect.Family) (tool, error) {
	stem := "iptables"
	if f == redirect.IPv6 {
		stem = "ip6tables"
	}
	suffix := strings.TrimPrefix(v.String(), "iptables")
	t, err := open(f, stem+suffix)
	if err == nil {
		return t, nil
	}
	plain, errPlain := open(f, stem)
	if errPlain != nil {
		return tool{}, fmt.Errorf("find %s%s: %w: %w (an image with its programs is needed)", stem, suffix, err, errors.ErrUnsupported)
	}
	got, errPlain := variantOf(stem)
	if errPlain != nil {
		return tool{}, errPlain
	}
	if got != v {
		return tool{}, fmt.Errorf("find %s%s: %w (%s is of the other variant): %w", stem, suffix, err, stem, errors.ErrUnsupported)
	}
	return plain, nil
}

func open(f redirect.Family, name string) (tool, error) {
	t := tool{family: f}
	proto := iptables.ProtocolIPv4
	if f == redirect.IPv6 {
		proto = iptables.ProtocolIPv6
	}
	var err error
	for _, program := range []struct {
		name string
		dst  *string
	}{{name, &t.program}, {name + "-save", &t.save}, {name + "-restore", &t.restore}} {
		if *program.dst, err = exec.LookPath(program.name); err != nil {
			return tool{}, err
		}
	}
	t.ipt, err = iptables.New(iptables.IPFamily(proto), iptables.Path(name), iptables.Timeout(waitSeconds))
	return t, err
}

// variantOf reads "iptables v1.8.9 (nf_tables)"; before 1.8 there was no word
// in brackets, and no other variant.
func variantOf(program string) (Variant, error) {
	out, err := exec.Command(program, "--version").Output()
	if err != nil {
		return Auto, fmt.Errorf("ask %s for its version: %w", program, err)
	}
	if strings.Contains(string(out), "nf_tables") {
		return NFT, nil
	}
	return Legacy, nil
}

// waits reports whether iptables-restore takes -w: from 1.6.2.
func (t tool) waits() bool {
	major, minor, patch := t.ipt.GetIptablesVersion()
	return major > 1 || major == 1 && (minor > 6 || minor == 6 && patch >= 2)
}

// exists asks iptables itself whether a chain has a rule, whose words another
// version may spell otherwise.
func (t tool) exists(table, chain string, spec []string) bool {
	if t.ipt == nil {
		return false
	}
	found, err := t.ipt.Exists(table, chain, spec...)
	return err == nil && found
}
