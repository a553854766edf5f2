// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
)

// Where a connection can arrive.
const (
	AtOutbound    = "the proxy's outbound port"
	AtInbound     = "the proxy's inbound port"
	AtApplication = "the application"
	AtOutside     = "the other host"
	Refused       = "nobody: the kernel refuses"
)

// Verdict is what became of a connection: where its bytes arrived, and which
// original destination and source were seen there. One that is refused has
// neither.
type Verdict struct {
	At     string
	Dest   netip.AddrPort
	Source netip.Addr
}

// String renders the verdict in one line.
func (v Verdict) String() string {
	if v.At == Refused {
		return "at " + v.At
	}
	return fmt.Sprintf("at %s, for %v from %v", v.At, v.Dest, v.Source)
}

// Want is the contract. UDP is left alone. What is called over 127.0.0.1 or ::1
// is left alone. What the application calls inside of the pod is left alone;
// what the proxy calls there goes by the inbound port, unless it comes from its
// dial source, which is how it reaches the application. All else is captured
// according to the setting, and what the proxy or an exempt group opens is not.
// But what arrives for a port on which nobody listens is left to the kernel,
// unless the setting says otherwise.
func (c Cell) Want() Verdict {
	switch c.Direction {
	case Inbound:
		return c.arriving(c.inboundSource())
	case OwnIP:
		if c.captures() && c.isProxy() && c.Sender != ProxySource && c.Aim.Self {
			return Verdict{AtInbound, c.seenDest(), c.selfSource()}
		}
		return c.delivered(Verdict{c.holder(), c.seenDest(), c.selfSource()})
	case Loopback:
		return c.delivered(Verdict{c.holder(), c.seenDest(), c.selfSource()})
	case OwnService:
		if !c.leavesCaptured() {
			return c.arriving(c.plain(nodeHost)) // by way of the node
		}
	default: // Outbound
		if !c.leavesCaptured() {
			return Verdict{AtOutside, c.seenDest(), c.podSource()}
		}
	}
	return Verdict{AtOutbound, c.seenDest(), c.podSource()}
}

// arriving is the verdict of what reaches the pod from outside.
func (c Cell) arriving(source netip.Addr) Verdict {
	dest := podHost
	if c.Aim.Net == Second {
		dest = secondPod
	}
	v := Verdict{c.holder(), c.seenAt(dest), source}
	if c.captures() && c.arrivalCaptured() && (c.heard() || c.Setting.Config.ClosedPorts == redirect.ClosedCapture) {
		v.At = AtInbound
		return v
	}
	return c.delivered(v)
}

// delivered is the verdict of what is left to the kernel, where somebody would
// be v.
func (c Cell) delivered(v Verdict) Verdict {
	if !c.heard() {
		return Verdict{At: Refused}
	}
	return v
}

// heard reports whether somebody in the pod listens for the cell.
func (c Cell) heard() bool {
	switch {
	case c.Listening == Everywhere, c.Transport == UDP, c.holder() != AtApplication:
		return true
	default:
		return c.Listening == LoopbackOnly && c.Direction == Loopback
	}
}

func (c Cell) arrivalCaptured() bool {
	if c.Setting.ByCaller && c.Direction == OwnService && c.Aim.Net == Far {
		return !c.Aim.In
	}
	return c.Aim.In
}

// leavesCaptured reports whether what the pod opens goes to the proxy.
func (c Cell) leavesCaptured() bool {
	return c.captures() && c.Aim.Out && !c.isProxy() && !slices.Contains(c.Setting.Exempt, c.Sender)
}

// captures reports whether the setting may capture such packets at all.
func (c Cell) captures() bool {
	steered := c.Setting.Config.IPv4
	if c.Family == IPv6 {
		steered = c.Setting.Config.IPv6
	}
	return c.Transport == TCP && steered && !c.Setting.Off
}

func (c Cell) isProxy() bool {
	return c.Sender == ProxyUser || c.Sender == ProxyGroup || c.Sender == ProxySource
}

// holder is who listens on the port in the pod.
func (c Cell) holder() string {
	switch c.Aim.Port {
	case contract.PortOutbound:
		return AtOutbound
	case contract.PortInbound:
		return AtInbound
	default:
		return AtApplication
	}
}

// seenDest is the destination as a packet bears it.
func (c Cell) seenDest() netip.AddrPort { return c.seenAt(c.destHost()) }

func (c Cell) seenAt(h host) netip.AddrPort {
	return netip.AddrPortFrom(c.plain(h), c.Aim.Port)
}

func (c Cell) inboundSource() netip.Addr {
	return c.plain([...]host{nodeHost, farHost, secondNode}[c.Aim.Net])
}

func (c Cell) podSource() netip.Addr {
	if c.Aim.Net == Second {
		return c.plain(secondPod)
	}
	return c.plain(podHost)
}

// selfSource is the address that was dialled too, as the kernel chooses it for
// what stays on the host, unless the sender has chosen another one.
func (c Cell) selfSource() netip.Addr {
	if c.Sender == ProxySource {
		return c.plain(dialSource)
	}
	return c.plain(c.destHost())
}

// plain returns a host's address as a packet bears it.
func (c Cell) plain(h host) netip.Addr {
	return c.addr(h).Unmap()
}
