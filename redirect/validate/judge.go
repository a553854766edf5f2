// SPDX-License-Identifier: Apache-2.0

package validate

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect"
)

// proxyPorts are where the plan's captured connections arrive.
func proxyPorts(p redirect.Plan, f redirect.Family) []uint16 {
	var ports []uint16
	for _, fp := range p.Families {
		for _, c := range fp.Chains {
			for _, r := range c.Rules {
				if fp.Family == f && r.Action == redirect.Capture && !slices.Contains(ports, r.Port) {
					ports = append(ports, r.Port)
				}
			}
		}
	}
	return ports
}

// judge returns where a case went otherwise than the plan says, or nil.
func judge(c Case, o outcome) *redirect.Difference {
	at := o.arrived.at
	switch {
	case c.Want.Action == redirect.Capture && at == c.Want.Port && o.arrived.dest == c.Flow.Dest:
		return nil
	case c.Want.Action == redirect.Pass && c.Ours && at == c.Flow.Dest.Port() && o.arrived.dest == c.Flow.Dest:
		return nil
	case c.Want.Action == redirect.Pass && !c.Ours && at == 0:
		return nil // wherever it is, the proxy has not got it
	}
	return &redirect.Difference{Where: where(c.Want), Want: want(c), Got: got(c, o)}
}

func where(v redirect.Verdict) string {
	if v.Number == 0 {
		return fmt.Sprintf("%v %v (%s)", v.Family, v.Direction, v.Why)
	}
	return fmt.Sprintf("%v %v rule %d (%s)", v.Family, v.Direction, v.Number, v.Why)
}

func want(c Case) string {
	from := ""
	if c.Flow.Source.IsValid() {
		from = fmt.Sprintf(" from %v", c.Flow.Source)
	}
	if c.Want.Action == redirect.Capture {
		return fmt.Sprintf("%v%s captured at %d", c.Flow.Dest, from, c.Want.Port)
	}
	return fmt.Sprintf("%v%s left alone", c.Flow.Dest, from)
}

func got(c Case, o outcome) string {
	missing := new(bindError)
	switch at := o.arrived.at; {
	case at != 0 && at == c.Flow.Dest.Port():
		return "that it was not captured"
	case at != 0 && at == c.Want.Port:
		return fmt.Sprintf("it there as one to %v: another rule changed it", o.arrived.dest)
	case at != 0:
		return fmt.Sprintf("it captured at %d", at)
	case errors.As(o.err, &missing):
		return fmt.Sprintf("no address %v (%v)", missing.addr, missing.err)
	case errors.Is(o.err, unix.ECONNREFUSED):
		return "it refused: where it went nobody listens"
	case errors.Is(o.err, os.ErrDeadlineExceeded), !o.ended:
		return "no answer"
	case o.err != nil && !c.Ours:
		return fmt.Sprintf("that it left the pod (%v)", cause(o.err))
	case o.err != nil:
		return fmt.Sprintf("none (%v)", cause(o.err))
	default:
		return "it in other hands"
	}
}

// cause is the kernel's part of an error of package net.
func cause(err error) error {
	if errno := unix.Errno(0); errors.As(err, &errno) {
		return errno
	}
	return err
}
