// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/shuntmesh/shunt/redirect"
)

// command is what a command line asks for.
type command struct {
	config   redirect.Config
	plan     redirect.Plan // of config; none for remove and detect
	backend  string
	backends backends
	netns    string // path of the network namespace, or "" for the caller's
	dryRun   bool
	format   string // of print, check, explain and detect
	question question

	gids      string // -g as written; the uids stand in when it is empty
	uidsSet   bool
	proxyUser string // $ENVOY_USER, which would name the uid
}

// option is one flag, with Istio's long name and shorthand where Istio has it.
type option struct {
	long, short string
	value       string // what the help calls its value; "" for a switch
	usage       string
	set         func(string) error
	env         string // read where the flag isn't given; "" for none
}

// parse reads the flags of a verb, and istio-iptables' environment variables
// below them. It has no side effects.
func parse(verb string, args []string, env Env) (command, error) {
	c := command{config: redirect.DefaultConfig(), backend: backendAuto, format: formatText}
	if verb == verbExplain { // of a pod without annotations
		c.config.IncludeInboundPorts.All, c.config.IncludeOutboundCIDRs.All = true, true
	}
	set := flag.NewFlagSet(verb, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	options := c.options(verb)
	for _, o := range options {
		o.register(set)
	}
	if err := readEnv(append(options, c.variables()...), env.LookupEnv); err != nil {
		return command{}, err
	}
	rest, err := parseMixed(set, args)
	if err != nil {
		return command{}, err
	}
	return c, c.finish(verb, rest, env.Backends)
}

// parseMixed returns the arguments beside the flags, which may stand anywhere.
func parseMixed(set *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := set.Parse(args); err != nil {
			return nil, err
		}
		if set.NArg() == 0 {
			return rest, nil
		}
		rest, args = append(rest, set.Arg(0)), set.Args()[1:]
	}
}

func (o option) register(set *flag.FlagSet) {
	for _, name := range []string{o.long, o.short} {
		switch {
		case name == "":
		case o.value == "":
			set.BoolFunc(name, o.usage, o.set)
		default:
			set.Func(name, o.usage, o.set)
		}
	}
}

// finish decides what depends on more than one flag.
func (c *command) finish(verb string, rest []string, all []Backend) (err error) {
	c.config.ProxyGIDs = c.config.ProxyUIDs
	if c.gids != "" {
		if c.config.ProxyGIDs, err = parseIDs(c.gids); err != nil {
			return err
		}
	}
	if c.proxyUser != "" && !c.uidsSet {
		return fmt.Errorf("environment variable ENVOY_USER: value %q is not possible without -u (allowed: a uid with -u; names mean nothing in an image without users)", c.proxyUser)
	}
	if verb == verbExplain {
		if err := c.question.setFlow(rest); err != nil {
			return err
		}
	} else if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q (only flags are allowed; quote a value that begins with - or *)", rest[0])
	}
	if c.backends, err = choose(c.backend, all); err != nil {
		return err
	}
	if verb == verbRemove || verb == verbDetect {
		return nil
	}
	if c.plan, err = redirect.NewPlan(c.config); err != nil || verb != verbExplain {
		return err
	}
	return c.question.validate(c.config)
}

// options returns the flags that a verb takes.
func (c *command) options(verb string) []option {
	output := option{long: "output", short: "o", value: "format", usage: strings.Join(formats(verb), ", ") + " (default text)", set: c.setFormat(verb)}
	if verb == verbDetect {
		return []option{output}
	}
	where := []option{
		{long: "netns", value: "path", usage: "act in the network namespace at this path, such as /proc/123/ns/net (default: the caller's)", set: text(&c.netns)},
		{long: "network-namespace", value: "path", usage: "the same", set: text(&c.netns)},
		{long: "backend", value: "name", usage: "nftables, iptables, iptables-nft, iptables-legacy, or auto for the first that works (default auto)", set: text(&c.backend)},
	}
	if verb == verbRemove {
		return where
	}
	all := c.planOptions()
	if verb == verbApply || verb == verbCheck {
		all = append(all, where...)
	}
	if verb == verbExplain {
		all = append(all, c.question.options()...)
	}
	if verb == verbApply {
		all = append(all, option{long: "dry-run", short: "n", usage: "print the plan and change nothing", set: boolean(&c.dryRun)})
		all = append(all, c.satisfied()...)
		return append(all, refused()...)
	}
	// No port list reads like a format, so a line for apply can be pasted.
	i := slices.IndexFunc(all, func(o option) bool { return o.short == "o" })
	ports := all[i]
	all[i].short = ""
	output.value, output.usage = "format|ports", output.usage+"; or ports, as in apply"
	output.set = eitherFormatOr(output.set, formats(verb), ports.set)
	all = append(all, output)
	all = append(all, c.satisfied()...)
	return append(all, refused()...)
}

func (c *command) setFormat(verb string) func(string) error {
	return func(s string) error {
		if !slices.Contains(formats(verb), s) {
			return fmt.Errorf("no format (allowed: %s)", strings.Join(formats(verb), ", "))
		}
		c.format = s
		return nil
	}
}

func eitherFormatOr(format func(string) error, names []string, ports func(string) error) func(string) error {
	return func(s string) error {
		if slices.Contains(names, s) {
			return format(s)
		}
		if err := ports(s); err != nil {
			return fmt.Errorf("neither a format nor ports (allowed: %s, or what -o of apply takes): %w", strings.Join(names, ", "), err)
		}
		return nil
	}
}

// planOptions choose what is captured.
func (c *command) planOptions() []option {
	p := &c.config
	return []option{
		{long: "envoy-port", short: "p", value: "port", usage: "captured outbound connections arrive here (default 15001)", set: port(&p.OutboundPort)},
		istio("inbound-capture-port", "z", "port", "captured inbound connections arrive here (default 15006)", port(&p.InboundPort)),
		istio("inbound-tunnel-port", "e", "port", "inbound connections to it are never captured (default 15008)", port(&p.TunnelPort)),
		istio("proxy-uid", "u", "uids", "what these users send is the proxy's own (default 1337)", c.setUIDs),
		istio("proxy-gid", "g", "gids", "the same for groups (default: the values of -u)", c.setGIDs),
		istio("istio-inbound-interception-mode", "m", "mode", "REDIRECT is the only mode so far", inboundMode),
		istio("istio-inbound-ports", "b", "ports", "inbound ports to capture, or * for all (default none)", portsOrAll(&p.IncludeInboundPorts)),
		istio("istio-local-exclude-ports", "d", "ports", "inbound ports to leave alone (default 15020,15021,15090)", ports(&p.ExcludeInboundPorts)),
		istio("istio-service-cidr", "i", "cidrs", "outbound destinations to capture, or * for all (default none)", cidrsOrAll(&p.IncludeOutboundCIDRs)),
		istio("istio-service-exclude-cidr", "x", "cidrs", "outbound destinations to leave alone", cidrs(&p.ExcludeOutboundCIDRs)),
		istio("istio-outbound-ports", "q", "ports", "outbound ports to capture wherever they go, unless -x holds the destination", ports(&p.IncludeOutboundPorts)),
		istio("istio-local-outbound-ports-exclude", "o", "ports", "outbound ports to leave alone", ports(&p.ExcludeOutboundPorts)),
		istio("istio-exclude-interfaces", "c", "interfaces", "what arrives or leaves over these is left alone", interfaces(&p.ExcludeInterfaces)),
		{long: "include-inbound-cidrs", value: "cidrs", usage: "callers to capture at every port, or * for all", set: cidrsOrAll(&p.IncludeInboundCIDRs)},
		{long: "exclude-inbound-cidrs", value: "cidrs", usage: "callers to leave alone", set: cidrs(&p.ExcludeInboundCIDRs)},
		{long: "owner-groups", value: "gids", usage: "capture outbound connections of these groups alone (default * for all)", set: groups(&p.OwnerGroups), env: "ISTIO_OUTBOUND_OWNER_GROUPS"},
		{long: "exclude-owner-groups", value: "gids", usage: "leave outbound connections of these groups alone", set: groups(&p.ExcludeOwnerGroups), env: "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"},
		{long: "drop-invalid", usage: "drop arriving TCP that connection tracking can't place", set: boolean(&p.DropInvalid), env: "INVALID_DROP"},
		{long: "ipv4", value: "on|off", usage: "steer IPv4 (default on)", set: onOff(&p.IPv4)},
		{long: "ipv6", value: "on|off", usage: "steer IPv6 (default on)", set: onOff(&p.IPv6)},
	}
}

// options describe a flow.
func (q *question) options() []option {
	return []option{
		{long: "uid", value: "uid", usage: "owner of the sending socket (default 0)", set: oneID(&q.uid)},
		{long: "gid", value: "gid", usage: "group of the sending socket (default 0)", set: oneID(&q.gid)},
		{long: "from", value: "address", usage: "source address; that of the caller where flags choose by it", set: q.setFrom},
		{long: "interface", value: "name", usage: "it arrives over this one, or leaves through it: lo for an address of the pod itself (default lo for loopback, else eth0)", set: text(&q.iface)},
		{long: "direction", value: "direction", usage: "outbound, inbound or both (default both)", set: q.setDirection},
	}
}

func (c *command) setUIDs(s string) error {
	if s == "" { // istio-iptables' way to ask for the default
		c.config.ProxyUIDs = redirect.DefaultConfig().ProxyUIDs
		return nil
	}
	c.uidsSet = true
	ids, err := parseIDs(s)
	c.config.ProxyUIDs = ids
	return err
}

func (c *command) setGIDs(s string) error {
	c.gids = s
	_, err := parseIDs(s)
	return err
}
