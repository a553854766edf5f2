// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"iter"
	"net/netip"
	"slices"
	"strings"
)

// Cell is one connection, or datagram, under one Config.
type Cell struct {
	Setting   *Setting
	Aim       Aim
	Sender    Sender
	Direction Direction
	Transport Transport
	Client    Client
	Family    Family
	Listening Listening
}

// String names the cell by its values, such as
// "exclude ports/listed inbound/proxy uid/own IP/TCP/plain/IPv6/closed".
func (c Cell) String() string {
	return strings.Join([]string{
		c.Setting.Name, c.Aim.Name, c.Sender.String(), c.Direction.String(),
		c.Transport.String(), c.Client.String(), c.Family.String(), c.Listening.String(),
	}, "/")
}

// Cells returns the whole product of a setting, in order, without the cells
// that an Exclusion names.
func (s *Setting) Cells() []Cell {
	var out []Cell
	for c := range s.Product() {
		if Excluded(c) == nil {
			out = append(out, c)
		}
	}
	return out
}

// CellsWhile returns those that hold while the application listens so.
func (s *Setting) CellsWhile(l Listening) []Cell {
	return slices.DeleteFunc(s.Cells(), func(c Cell) bool { return c.Listening != l })
}

// Product yields every combination of the axes.
func (s *Setting) Product() iter.Seq[Cell] {
	const each = senders * directions * transports * clients * families * listenings
	return func(yield func(Cell) bool) {
		for n := range len(s.Aims) * each {
			if !yield(s.cell(n)) {
				return
			}
		}
	}
}

// cell reads n as a number whose digits are the values of the axes.
func (s *Setting) cell(n int) Cell {
	digit := func(base int) int {
		d := n % base
		n /= base
		return d
	}
	c := Cell{Setting: s}
	c.Listening = Listening(digit(listenings))
	c.Family, c.Client, c.Transport = Family(digit(families)), Client(digit(clients)), Transport(digit(transports))
	c.Direction, c.Sender = Direction(digit(directions)), Sender(digit(senders))
	c.Aim = s.Aims[n]
	return c
}

// Dest is where the connection is sent.
func (c Cell) Dest() netip.AddrPort {
	return netip.AddrPortFrom(c.addr(c.destHost()), c.Aim.Port)
}

// Source is the address that the sender binds to; it is invalid where the
// kernel chooses.
func (c Cell) Source() netip.Addr {
	switch {
	case c.Sender == ProxySource:
		return c.addr(dialSource)
	case c.Direction == Inbound && c.Aim.Net == Far:
		return c.addr(farHost)
	default:
		return netip.Addr{}
	}
}

func (c Cell) destHost() host {
	switch c.Direction {
	case Outbound:
		return [...]host{nodeHost, farHost, secondNode}[c.Aim.Net]
	case Loopback:
		return localhost
	case OwnService:
		return [...]host{service, otherService, service}[c.Aim.Net]
	default: // Inbound, OwnIP
		return [...]host{podHost, podHost, secondPod}[c.Aim.Net]
	}
}

// addr returns a host's address in the form in which the cell's socket has it.
func (c Cell) addr(h host) netip.Addr {
	switch c.Family {
	case IPv6:
		return h.v6()
	case Mapped:
		return netip.AddrFrom16(h.v4().As16())
	default:
		return h.v4()
	}
}
