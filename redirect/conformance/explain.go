// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"

	"github.com/shuntmesh/shunt/redirect"
)

// Explained is where the connection arrives if redirect.Explain is right.
func (c Cell) Explained() (string, error) {
	v, err := redirect.Explain(c.Setting.Config, c.flow())
	if err != nil {
		return "", err
	}
	if v.Action == redirect.Capture {
		return c.capturedAt(v)
	}
	switch c.Direction {
	case Outbound:
		return AtOutside, nil
	case OwnService: // it comes back by way of the node
		back := redirect.Flow{
			Direction: redirect.Inbound, UDP: c.Transport == UDP, Interface: firstInterface,
			Source: c.plain(nodeHost), Dest: c.seenAt(podHost), Closed: !c.heard(),
		}
		v, err := redirect.Explain(c.Setting.Config, back)
		if err != nil || v.Action != redirect.Capture {
			return c.taker(), err
		}
		return c.capturedAt(v)
	default:
		return c.taker(), nil
	}
}

// taker is where the kernel delivers to what no rule captures.
func (c Cell) taker() string { return c.delivered(Verdict{At: c.holder()}).At }

// flow is the cell's first packet as a rule sees it. What a sender leaves to the
// kernel is left open here too.
func (c Cell) flow() redirect.Flow {
	f := redirect.Flow{
		Direction: redirect.Outbound, UDP: c.Transport == UDP,
		Dest: c.Dest(), Source: c.Source(), Interface: firstInterface,
	}
	if c.Aim.Net == Second {
		f.Interface = secondInterface
	}
	switch c.Direction {
	case Inbound:
		f.Direction, f.Source, f.Closed = redirect.Inbound, c.inboundSource(), !c.heard()
		return f
	case Loopback, OwnIP:
		f.Interface = "lo"
	}
	f.UID, f.GID = c.Sender.Credential().UID, c.Sender.Credential().GID
	return f
}

func (c Cell) capturedAt(v redirect.Verdict) (string, error) {
	switch v.Port {
	case c.Setting.Config.OutboundPort:
		return AtOutbound, nil
	case c.Setting.Config.InboundPort:
		return AtInbound, nil
	default:
		return "", fmt.Errorf("explain %v: it names port %d, where no proxy listens", c, v.Port)
	}
}
