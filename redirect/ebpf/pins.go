// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cilium/ebpf"
)

// layoutVersion is that of the maps, bpf/maps.h. Programs of one layout replace
// each other while everything runs; those of another would misread what is
// pinned, and get a directory of their own.
const layoutVersion = "v1"

// errNotLoaded is what a Backend says where no Node has been. Another backend
// may do without.
var errNotLoaded = fmt.Errorf("%w: no programs are loaded on this node (its agent does that)", errors.ErrUnsupported)

// layout is where things are pinned.
type layout struct{ bpffs string }

func (l layout) root() string               { return filepath.Join(l.bpffs, "shunt", layoutVersion) }
func (l layout) maps() string               { return filepath.Join(l.root(), "maps") }
func (l layout) link(program string) string { return filepath.Join(l.root(), "links", program) }
func (l layout) pods() string               { return filepath.Join(l.root(), "pods") }

// pod is where a pod's link to its namespace is pinned.
func (l layout) pod(cookie uint64) string {
	return filepath.Join(l.pods(), strconv.FormatUint(cookie, 10))
}

// dirs returns them all, in the order in which they must be made.
func (l layout) dirs() []string {
	return []string{l.root(), l.maps(), filepath.Dir(l.link("any")), l.pods()}
}

// openMaps opens the pinned maps that a pod's entries are written to.
func openMaps(l layout) (*podMaps, error) {
	m := &podMaps{}
	for _, want := range []struct {
		name string
		into **ebpf.Map
	}{
		{programsMapPods, &m.pods},
		{programsMapPolicies, &m.policies},
		{programsMapArriving, &m.arriving},
		{programsMapLookups, &m.lookups},
		{programsMapListening, &m.listening},
	} {
		opened, err := ebpf.LoadPinnedMap(filepath.Join(l.maps(), want.name), nil)
		if err != nil {
			m.Close()
			return nil, openError(l, err)
		}
		*want.into = opened
	}
	return m, nil
}

func openError(l layout, err error) error {
	if _, errStat := os.Stat(l.root()); errors.Is(errStat, fs.ErrNotExist) || errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open maps below %s: %w", l.root(), errNotLoaded)
	}
	return fmt.Errorf("open maps below %s: %w", l.root(), hint(err))
}

// podMaps are the maps that a pod's entries are written to.
type podMaps struct {
	pods, policies, arriving, lookups, listening *ebpf.Map
}

// Close gives up our handles; the pins keep the maps.
func (m *podMaps) Close() {
	for _, each := range []*ebpf.Map{m.pods, m.policies, m.arriving, m.lookups, m.listening} {
		if each != nil {
			_ = each.Close()
		}
	}
}

// hint says what may help.
func hint(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w (CAP_BPF and CAP_NET_ADMIN are needed on the host)", err)
	}
	return err
}
