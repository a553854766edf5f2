// SPDX-License-Identifier: Apache-2.0

// Package testimony is what the witness in a pod and the judge outside say to
// each other: one line of text in each direction.
package testimony

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Ports.
const (
	PortJudge   = 7000 // of the judge, on a host outside the cluster: witnesses dial it
	PortWitness = 7001 // of each witness: the judge dials it
)

// Segment is the largest TCP segment that a witness takes, in bytes. Nobody else
// on a path of Ethernet's size offers so little.
const Segment = 1000

// Offer makes a socket offer Segment; it is the Control of a witness's dialer.
func Offer(_, _ string, socket syscall.RawConn) error {
	var err error
	errControl := socket.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, Segment)
	})
	if err := errors.Join(errControl, err); err != nil {
		return fmt.Errorf("offer segment size: %w", err)
	}
	return nil
}

// Statement is one line of a witness.
type Statement struct {
	Pod  string // UID
	Life string // tells one start of the witness from another
	// Proxied and Direct count what this life has accepted, this connection
	// included: from the proxy, and from anybody else.
	Proxied, Direct int
}

// String is the line, without its end.
func (s Statement) String() string {
	return fmt.Sprintf("witness %s %s %d %d", s.Pod, s.Life, s.Proxied, s.Direct)
}

// Parse reads a line.
func Parse(line string) (Statement, error) {
	var s Statement
	if n, err := fmt.Sscanf(strings.TrimSpace(line), "witness %s %s %d %d", &s.Pod, &s.Life, &s.Proxied, &s.Direct); err != nil {
		return Statement{}, fmt.Errorf("read statement %q: %d fields: %w", line, n, err)
	}
	return s, nil
}
