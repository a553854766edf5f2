// SPDX-License-Identifier: Apache-2.0

// Package testimony is what the witness in a pod and the judge outside say to
// each other: one line of text in each direction.
package testimony

import (
	"fmt"
	"net/netip"
	"strings"
)

// Ports.
const (
	PortJudge   = 7000 // of the judge, on a host outside the cluster: witnesses dial it
	PortWitness = 7001 // of each witness: the judge dials it
)

// Statement is one line of a witness.
type Statement struct {
	Pod  string // UID
	Life string // tells one start of the witness from another
	// Address is how the witness sees this connection: its own end where it has
	// dialled, the other end where it was dialled.
	Address netip.AddrPort
	// Proxied and Direct count what this life has accepted, this connection
	// included: from the proxy, and from anybody else.
	Proxied, Direct int
}

// String is the line, without its end.
func (s Statement) String() string {
	return fmt.Sprintf("witness %s %s %s %d %d", s.Pod, s.Life, s.Address, s.Proxied, s.Direct)
}

// Parse reads a line.
func Parse(line string) (Statement, error) {
	var s Statement
	var address string
	if n, err := fmt.Sscanf(strings.TrimSpace(line), "witness %s %s %s %d %d", &s.Pod, &s.Life, &address, &s.Proxied, &s.Direct); err != nil {
		return Statement{}, fmt.Errorf("read statement %q: %d fields: %w", line, n, err)
	}
	var err error
	if s.Address, err = netip.ParseAddrPort(address); err != nil {
		return Statement{}, fmt.Errorf("read statement %q: %w", line, err)
	}
	return s, nil
}
