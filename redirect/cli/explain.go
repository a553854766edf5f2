// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/flags"
)

// The interfaces that flows are taken to use unless --interface says otherwise:
// container runtimes name a pod's first interface eth0.
const (
	podInterface      = "eth0"
	loopbackInterface = "lo"
)

// question is the flow that explain is asked about.
type question struct {
	udp        bool
	dests      []netip.AddrPort // two for ":443": one of each family, in no list
	uid, gid   uint32
	from       netip.Addr
	iface      string
	directions []redirect.Direction
	closed     bool // nobody listens
}

// explained is one answer.
type explained struct {
	Protocol string `json:"protocol"`
	Dest     string `json:"destination"`
	redirect.Verdict
}

// setFlow reads "tcp" and "10.0.0.5:443".
func (q *question) setFlow(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%d arguments beside flags (allowed: a protocol and a destination, such as tcp 10.0.0.5:443)", len(args))
	}
	switch args[0] {
	case "tcp":
	case "udp":
		q.udp = true
	default:
		return fmt.Errorf("protocol %q is not possible (allowed: tcp, udp)", args[0])
	}
	dests, err := parseDest(args[1])
	q.dests = dests
	return err
}

// parseDest reads "10.0.0.5:443", "[fd00::5]:443", and ":443", which stands for
// an address of either family that no list holds.
func parseDest(s string) ([]netip.AddrPort, error) {
	port, anywhere := strings.CutPrefix(s, ":")
	if anywhere {
		r, err := contract.ParsePorts(port)
		if err != nil || len(r) != 1 || r[0].First != r[0].Last {
			return nil, fmt.Errorf("destination %q is not possible (allowed after a colon: a port from 1 to 65535)", s)
		}
		return []netip.AddrPort{
			netip.AddrPortFrom(netip.IPv4Unspecified(), r[0].First),
			netip.AddrPortFrom(netip.IPv6Unspecified(), r[0].First),
		}, nil
	}
	dest, err := netip.ParseAddrPort(s)
	if err != nil || dest.Port() == 0 || dest.Addr().Zone() != "" {
		return nil, fmt.Errorf("destination %q is not possible (allowed: 10.0.0.5:443, [fd00::5]:443, or :443 for any address)", s)
	}
	return []netip.AddrPort{netip.AddrPortFrom(dest.Addr().Unmap(), dest.Port())}, nil
}

// options describe a flow.
func (q *question) options() []flags.Option {
	return []flags.Option{
		{Long: "uid", Value: "uid", Usage: "owner of the sending socket (default 0)", Set: oneID(&q.uid)},
		{Long: "gid", Value: "gid", Usage: "group of the sending socket (default 0)", Set: oneID(&q.gid)},
		{Long: "from", Value: "address", Usage: "source address; that of the caller where flags choose by it", Set: q.setFrom},
		{Long: "interface", Value: "name", Usage: "it arrives over this one, or leaves through it: lo for an address of the pod itself (default lo for loopback, else eth0)", Set: flags.Text(&q.iface)},
		{Long: "closed", Usage: "nobody in the pod listens for what arrives (default: somebody does)", Set: flags.Switch(&q.closed)},
		{Long: "direction", Value: "direction", Usage: "outbound, inbound or both (default both)", Set: q.setDirection},
	}
}

func oneID(dst *uint32) func(string) error {
	return func(s string) error {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return errors.New("no uid or gid (allowed: a number from 0 to 4294967295)")
		}
		*dst = uint32(n)
		return nil
	}
}

func (q *question) setFrom(s string) (err error) {
	if q.from, err = netip.ParseAddr(s); err != nil || q.from.Zone() != "" {
		return errors.New("not an address (allowed: such as 10.0.0.7 or fd00::7)")
	}
	return nil
}

func (q *question) setDirection(s string) error {
	switch s {
	case "inbound":
		q.directions = []redirect.Direction{redirect.Inbound}
	case "outbound":
		q.directions = []redirect.Direction{redirect.Outbound}
	case "both":
		q.directions = nil
	default:
		return errors.New("not possible (allowed: outbound, inbound, both)")
	}
	return nil
}

// validate asks for what the verdict would depend on.
func (q *question) validate(c redirect.Config) error {
	callers := len(c.ExcludeInboundCIDRs) > 0 || !c.IncludeInboundPorts.All && !c.IncludeInboundCIDRs.All && len(c.IncludeInboundCIDRs.Prefixes) > 0
	asksInbound := len(q.directions) == 0 || q.directions[0] == redirect.Inbound
	if callers && asksInbound && !q.from.IsValid() {
		return &redirect.ConfigError{Flag: "--from", Value: "", Allowed: "the caller's address, since the flags choose by it; or --direction outbound"}
	}
	return nil
}

func (c command) explain(w io.Writer) error {
	q := c.question
	directions := q.directions
	if directions == nil {
		directions = []redirect.Direction{redirect.Outbound, redirect.Inbound}
	}
	protocol := "tcp"
	if q.udp {
		protocol = "udp"
	}
	var answers []explained
	for _, dest := range q.dests {
		for _, d := range directions {
			f := redirect.Flow{Direction: d, UDP: q.udp, Dest: dest, Source: q.from, Interface: q.interfaceFor(dest, d), UID: q.uid, GID: q.gid, Closed: q.closed}
			answers = append(answers, explained{protocol, dest.String(), c.plan.Explain(f)})
		}
	}
	return write(w, c.format, answers, func() string { return explainText(answers) })
}

// interfaceFor is what a route would say in an ordinary pod.
func (q question) interfaceFor(dest netip.AddrPort, d redirect.Direction) string {
	switch {
	case q.iface != "":
		return q.iface
	case d == redirect.Outbound && dest.Addr().IsLoopback():
		return loopbackInterface
	default:
		return podInterface
	}
}

func explainText(answers []explained) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DIRECTION\tDESTINATION\tVERDICT\tRULE\tWHY")
	for _, a := range answers {
		action, rule := a.Action.String(), "none"
		if a.Action == redirect.Capture {
			action = fmt.Sprintf("capture at %d", a.Port)
		}
		if a.Number > 0 {
			rule = fmt.Sprintf("%v %v %d", a.Family, a.Direction, a.Number)
		}
		fmt.Fprintf(w, "%v\t%s %s\t%s\t%s\t%s\n", a.Direction, a.Protocol, a.Dest, action, rule, a.Why)
	}
	_ = w.Flush() // into memory
	return b.String()
}
