// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
)

// command is what a command line asks for.
type command struct {
	config redirect.Config
	netns  string // path of the network namespace, or "" for the caller's
	dryRun bool
	output string // of print: text, json or nft

	gids    string // -g as written; the uids stand in when it is empty
	gidsSet bool
}

// option is one flag with Istio's long name and shorthand.
type option struct {
	long, short string
	value       string // what the help calls its value; "" for a switch
	usage       string
	set         func(string) error
}

// parseFlags reads the flags of a verb. It has no side effects.
func parseFlags(verb string, args []string) (command, error) {
	c := command{config: redirect.DefaultConfig(), output: outputText}
	set := flag.NewFlagSet(verb, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for _, o := range c.options(verb) {
		o.register(set)
	}
	if err := set.Parse(args); err != nil {
		return command{}, err
	}
	if set.NArg() > 0 {
		return command{}, fmt.Errorf("unexpected argument %q (only flags are allowed; quote a value that begins with - or *)", set.Arg(0))
	}
	return c, c.finish()
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

// finish gives the gids their default, which is the uids wherever -u stands.
func (c *command) finish() error {
	if !c.gidsSet || c.gids == "" {
		c.config.ProxyGIDs = c.config.ProxyUIDs
		return nil
	}
	gids, err := parseIDs(c.gids)
	c.config.ProxyGIDs = gids
	return err
}

// options returns the flags that a verb takes.
func (c *command) options(verb string) []option {
	netns := []option{
		{"netns", "", "path", "act in the network namespace at this path, such as /proc/123/ns/net (default: the caller's)", text(&c.netns)},
	}
	if verb == verbRemove {
		return append(netns, option{"network-namespace", "", "path", "the same", text(&c.netns)})
	}
	all := append(c.planOptions(), netns...)
	all = append(all, option{"network-namespace", "", "path", "the same", text(&c.netns)})
	switch verb {
	case verbApply:
		all = append(all, option{"dry-run", "n", "", "print the plan and change nothing", boolean(&c.dryRun)})
		all = append(all, satisfied()...)
	case verbPrint:
		// No port list reads like a format, so a line for apply can be pasted.
		i := slices.IndexFunc(all, func(o option) bool { return o.short == "o" })
		all[i].short = ""
		all = append(all, option{"o", "", "format|ports", "text, json or nft (default text); or ports, as in apply", c.formatOrPorts})
	}
	return append(all, refused()...)
}

func (c *command) formatOrPorts(s string) error {
	if slices.Contains([]string{outputText, outputJSON, outputNFT}, s) {
		c.output = s
		return nil
	}
	if err := ports(&c.config.ExcludeOutboundPorts)(s); err != nil {
		return fmt.Errorf("neither a format nor ports (allowed: text, json, nft, or what -o of apply takes): %w", err)
	}
	return nil
}

// planOptions are istio-iptables' flags that choose what is captured.
func (c *command) planOptions() []option {
	p := &c.config
	return []option{
		{"envoy-port", "p", "port", "captured outbound connections arrive here (default 15001)", port(&p.OutboundPort)},
		{"inbound-capture-port", "z", "port", "captured inbound connections arrive here (default 15006)", port(&p.InboundPort)},
		{"inbound-tunnel-port", "e", "port", "inbound connections to it are never captured (default 15008)", port(&p.TunnelPort)},
		{"proxy-uid", "u", "uids", "what these users send is the proxy's own (default 1337)", c.setUIDs},
		{"proxy-gid", "g", "gids", "the same for groups (default: the values of -u)", c.setGIDs},
		{"istio-inbound-interception-mode", "m", "mode", "REDIRECT is the only mode so far", inboundMode},
		{"istio-inbound-ports", "b", "ports", "inbound ports to capture, or * for all (default none)", portsOrAll(&p.IncludeInboundPorts)},
		{"istio-local-exclude-ports", "d", "ports", "inbound ports to leave alone", ports(&p.ExcludeInboundPorts)},
		{"istio-service-cidr", "i", "cidrs", "outbound destinations to capture, or * for all (default none)", cidrsOrAll(&p.IncludeOutboundCIDRs)},
		{"istio-service-exclude-cidr", "x", "cidrs", "outbound destinations to leave alone", cidrs(&p.ExcludeOutboundCIDRs)},
		{"istio-outbound-ports", "q", "ports", "outbound ports to capture wherever they go, unless -x holds the destination", ports(&p.IncludeOutboundPorts)},
		{"istio-local-outbound-ports-exclude", "o", "ports", "outbound ports to leave alone", ports(&p.ExcludeOutboundPorts)},
		{"ipv6", "", "on|off", "steer IPv6 as well as IPv4 (default on)", onOff(&p.IPv6)},
	}
}

func (c *command) setUIDs(s string) error {
	if s == "" { // istio-iptables' way to ask for the default
		c.config.ProxyUIDs = redirect.DefaultConfig().ProxyUIDs
		return nil
	}
	ids, err := parseIDs(s)
	c.config.ProxyUIDs = ids
	return err
}

func (c *command) setGIDs(s string) error {
	c.gids, c.gidsSet = s, true
	_, err := parseIDs(s)
	return err
}

// parseIDs reads numbers alone: names would need the image's /etc/passwd.
func parseIDs(list string) ([]uint32, error) {
	if list == "" {
		return nil, nil
	}
	var out []uint32
	for entry := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(entry), 10, 32)
		if err != nil {
			return nil, fmt.Errorf("entry %q is no uid or gid (allowed: numbers from 1 to 4294967294, separated by commas)", entry)
		}
		out = append(out, uint32(n))
	}
	return out, nil
}

func inboundMode(s string) error {
	if s == "" || s == "REDIRECT" {
		return nil
	}
	return errors.New("not supported yet (allowed: REDIRECT; TPROXY would need NET_ADMIN in the proxy)")
}

func port(dst *uint16) func(string) error {
	return func(s string) error {
		r, err := contract.ParsePorts(s)
		if err != nil {
			return err
		}
		if len(r) != 1 || r[0].First != r[0].Last {
			return errors.New("not one port (allowed: 1 to 65535)")
		}
		*dst = r[0].First
		return nil
	}
}

func ports(dst *[]contract.PortRange) func(string) error {
	return func(s string) (err error) {
		*dst, err = contract.ParsePorts(s)
		return err
	}
}

func portsOrAll(dst *redirect.Ports) func(string) error {
	return func(s string) (err error) {
		*dst = redirect.Ports{All: s == "*"}
		if !dst.All {
			dst.Ranges, err = contract.ParsePorts(s)
		}
		return err
	}
}

func cidrs(dst *[]netip.Prefix) func(string) error {
	return func(s string) (err error) {
		if s == "*" {
			return errors.New("this would exclude every destination (allowed: prefixes such as 10.0.0.0/8; -i \"\" captures none)")
		}
		*dst, err = contract.ParseCIDRs(s)
		return err
	}
}

func cidrsOrAll(dst *redirect.CIDRs) func(string) error {
	return func(s string) (err error) {
		*dst = redirect.CIDRs{All: s == "*"}
		if !dst.All {
			dst.Prefixes, err = contract.ParseCIDRs(s)
		}
		return err
	}
}

func text(dst *string) func(string) error {
	return func(s string) error { *dst = s; return nil }
}

func onOff(dst *bool) func(string) error {
	return func(s string) error {
		if s != "on" && s != "off" {
			return errors.New("not possible (allowed: on, off)")
		}
		*dst = s == "on"
		return nil
	}
}

func boolean(dst *bool) func(string) error {
	return func(s string) (err error) {
		if *dst, err = strconv.ParseBool(s); err != nil {
			return errors.New("not possible (allowed: true, false)")
		}
		return nil
	}
}
