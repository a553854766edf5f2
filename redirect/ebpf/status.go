// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Status is what a node holds.
type Status struct {
	Layout   string            `json:"layout"` // version of the maps' layout
	Programs []ProgramStatus   `json:"programs"`
	Maps     []MapStatus       `json:"maps"`
	Pods     int               `json:"pods"`     // namespaces that are captured
	Services int               `json:"services"` // that are balanced
	Ends     string            `json:"ends"`     // what ends connections to removed endpoints
	Counters map[string]uint64 `json:"counters"`
}

// ProgramStatus is one program of the node.
type ProgramStatus struct {
	Name     string `json:"name"`
	Tag      string `json:"tag"`      // hash of its instructions
	Attached bool   `json:"attached"` // to this node's control group
}

// MapStatus is one map.
type MapStatus struct {
	Name  string `json:"name"`
	Most  uint32 `json:"most"`  // entries that it has room for
	Bytes uint64 `json:"bytes"` // of memory, where the kernel tells
}

// counterNames say what bpf/maps.h counts, since the first Load.
func counterNames() []string {
	return []string{
		"captured_outbound",
		"captured_inbound",
		"refused_no_proxy",    // nobody listened for what arrived
		"refused_no_storage",  // no room on the socket for where it was going
		"refused_no_route",    // to where the pod had no way
		"refused_device",      // bound to an interface, and not to be set free
		"refused_policy",      // a policy that was taken away, or can't be read
		"lost_origins",        // the proxy was not told where a connection was going, and refused it
		"lost_listeners",      // a listener of a proxy that could not be kept
		"unbound",             // captured from a loopback address, since the pod's could not be had
		"balanced",            // connected to an endpoint of a service
		"refused_no_endpoint", // connected to a service without any
		"destroyed",           // connections that were ended, since their endpoint is gone
		"stayed",              // connections that should have been, and could not be
		"uncounted_listeners", // no room to count them: until they end, closed ports of their pod are captured
	}
}

// Status returns what the node holds; fs.ErrNotExist where nothing is loaded.
func (n Node) Status() (Status, error) {
	s := Status{Layout: layoutVersion, Counters: map[string]uint64{}}
	if _, err := os.Stat(n.layout().root()); err != nil {
		return s, fmt.Errorf("read status: %w", err)
	}
	for _, h := range hooks() {
		p, err := n.programStatus(h)
		if err != nil {
			return s, err
		}
		s.Programs = append(s.Programs, p)
	}
	spec, err := loadPrograms()
	if err != nil {
		return s, fmt.Errorf("read programs: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Maps)) {
		m, err := n.mapStatus(name)
		if err != nil {
			return s, err
		}
		s.Maps = append(s.Maps, m)
	}
	pods, err := os.ReadDir(n.layout().pods())
	if err != nil {
		return s, fmt.Errorf("list pods: %w", err)
	}
	s.Pods = len(pods)
	if err := n.balanceStatus(&s); err != nil {
		return s, err
	}
	return s, n.readCounters(s.Counters)
}

func (n Node) programStatus(h hook) (ProgramStatus, error) {
	s := ProgramStatus{Name: h.program}
	l, err := link.LoadPinnedLink(n.layout().link(h.program), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("open link of %s: %w", h.program, hint(err))
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return s, fmt.Errorf("inspect link of %s: %w", h.program, hint(err))
	}
	own, err := n.cgroupID()
	if err != nil {
		return s, err
	}
	if cgroup := info.Cgroup(); cgroup != nil {
		s.Attached = cgroup.CgroupId == own
	}
	if program, err := ebpf.NewProgramFromID(info.Program); err == nil {
		defer program.Close()
		if i, err := program.Info(); err == nil {
			s.Tag = i.Tag
		}
	}
	return s, nil
}

func (n Node) mapStatus(name string) (MapStatus, error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(n.layout().maps(), name), nil)
	if err != nil {
		return MapStatus{Name: name}, fmt.Errorf("open map %s: %w", name, hint(err))
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil {
		return MapStatus{Name: name}, fmt.Errorf("inspect map %s: %w", name, hint(err))
	}
	bytes, _ := info.Memlock()
	return MapStatus{name, info.MaxEntries, bytes}, nil
}

// readCounters adds up what each CPU has counted.
func (n Node) readCounters(into map[string]uint64) error {
	m, err := ebpf.LoadPinnedMap(filepath.Join(n.layout().maps(), programsMapCounters), nil)
	if err != nil {
		return fmt.Errorf("open counters: %w", hint(err))
	}
	defer m.Close()
	for i, name := range counterNames() {
		var each []uint64
		if err := m.Lookup(uint32(i), &each); err != nil {
			return fmt.Errorf("read counter %s: %w", name, hint(err))
		}
		for _, v := range each {
			into[name] += v
		}
	}
	return nil
}
