// SPDX-License-Identifier: Apache-2.0

package conformance

// Exclusion is a part of the product that is no cell.
type Exclusion struct {
	Name   string
	Reason string
	covers func(Cell) bool
}

// Exclusions lists them all. The first that covers a combination counts it.
func Exclusions() []Exclusion {
	return []Exclusion{
		{
			"UDP x MPTCP", "MPTCP is a kind of TCP: there is no such socket",
			func(c Cell) bool { return c.Transport == UDP && c.Client == MPTCP },
		},
		{
			"not listening everywhere x outbound", "it is another host that is called: it would be the same connection once more",
			func(c Cell) bool { return c.Listening != Everywhere && c.Direction == Outbound },
		},
		{
			"not listening everywhere x UDP", "for datagrams everybody listens everywhere: it would be the same datagram once more",
			func(c Cell) bool { return c.Listening != Everywhere && c.Transport == UDP },
		},
		{
			"not listening everywhere x the proxy's ports", "the proxy listens there, and not the application",
			func(c Cell) bool { return c.Listening != Everywhere && c.holder() != AtApplication },
		},
		{
			"proxy source x {inbound, outbound, own service}", "127.0.0.6 and ::6 are addresses of the pod alone: the kernel lets no packet with them leave or arrive",
			func(c Cell) bool { return c.Sender == ProxySource && c.Direction != OwnIP && c.Direction != Loopback },
		},
		{
			"other network x {loopback, own IP}", "the pod has no address there: it would be the same connection once more",
			func(c Cell) bool { return c.Aim.Net == Far && (c.Direction == Loopback || c.Direction == OwnIP) },
		},
		{
			"second interface x {loopback, own service}", "neither leads over it: it would be the same connection once more",
			func(c Cell) bool {
				return c.Aim.Net == Second && (c.Direction == Loopback || c.Direction == OwnService)
			},
		},
		{
			"proxy source x IPv6 where it is not steered", "::6 is put on the loopback interface only where it is needed",
			func(c Cell) bool {
				return c.Sender == ProxySource && c.Family == IPv6 && (!c.Setting.Config.IPv6 || c.Setting.Off)
			},
		},
	}
}

// Excluded returns the Exclusion that covers a combination, or nil.
func Excluded(c Cell) *Exclusion {
	for _, e := range Exclusions() {
		if e.covers(c) {
			return &e
		}
	}
	return nil
}
