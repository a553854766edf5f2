// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// count adds to a counter. Programs count destroyed connections where they end
// them, and then this side does not; nobody else writes meanwhile.
func (m *balanceMaps) count(name string, more int) error {
	which := uint32(slices.Index(counterNames(), name))
	var each []uint64
	if err := m.counters.Lookup(which, &each); err != nil {
		return fmt.Errorf("read counter %s: %w", name, hint(err))
	}
	each[0] += uint64(more)
	if err := m.counters.Put(which, each); err != nil {
		return fmt.Errorf("write counter %s: %w", name, hint(err))
	}
	return nil
}

// balanceStatus says how many services are balanced, and what ends connections to
// endpoints that are gone.
func (n Node) balanceStatus(s *Status) error {
	m, err := openBalanceMaps(n.layout())
	if err != nil {
		return err
	}
	defer m.Close()
	services, _, err := readAll[place, slotKey](m.services)
	if err != nil {
		return fmt.Errorf("read services: %w", err)
	}
	s.Services = len(services)
	s.Ends, err = n.ends()
	return err
}

// ends asks the kernel: SOCK_DESTROY for a socket that doesn't exist says whether
// it is known.
func (n Node) ends() (string, error) {
	_, err := os.Stat(n.layout().link(programsProgShuntDestroy))
	if err == nil {
		return "bpf_sock_destroy", nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("look for %s: %w", programsProgShuntDestroy, err)
	}
	err = doomed{Family: unix.AF_INET, Cookie: 1}.destroy()
	if errors.Is(err, errors.ErrUnsupported) {
		return "nothing (the kernel has neither bpf_sock_destroy nor CONFIG_INET_DIAG_DESTROY)", nil
	}
	return "SOCK_DESTROY", err
}
