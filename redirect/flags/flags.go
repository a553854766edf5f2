// SPDX-License-Identifier: Apache-2.0

// Package flags reads the flags of `redirect apply` that choose what is captured
// and by which backend: istio-iptables' and ours. It is pure. Nothing of it
// names a file, a network namespace or a user of some user database, and no
// environment is read, so that a pod's author may hand such flags to a process
// with more rights than the pod has.
package flags

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"

	"github.com/shuntmesh/shunt/redirect"
)

// Parsed is what the flags say.
type Parsed struct {
	Config  redirect.Config
	Backend string // its name; "" where no flag names one. Whether there is one of that name is not known here
}

// Parse reads a command line without the program's name and its verb, such as
// "-p", "15001", "-b", "*". What is unknown, impossible or not supported is an
// error that names the flag, the value and what is allowed.
func Parse(args []string) (Parsed, error) {
	f := New()
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for _, o := range slices.Concat(f.Plan(), []Option{f.ByName()}, f.Istio()) {
		o.Register(set)
	}
	if err := set.Parse(args); err != nil {
		return Parsed{}, err
	}
	if set.NArg() > 0 {
		return Parsed{}, Unexpected(set.Arg(0))
	}
	return f.Parsed, f.Finish()
}

// Unexpected is the error for an argument that belongs to no flag.
func Unexpected(arg string) error {
	return fmt.Errorf("unexpected argument %q (only flags are allowed; quote a value that begins with - or *)", arg)
}

// Option is one flag, with Istio's long name and shorthand where Istio has it.
type Option struct {
	Long, Short string
	Value       string // what the help calls its value; "" for a switch
	Usage       string
	Set         func(string) error
	Env         string // istio-iptables reads this variable where the flag isn't given; "" for none
}

// Register adds the flag to a set, by both of its names.
func (o Option) Register(set *flag.FlagSet) {
	for _, name := range []string{o.Long, o.Short} {
		switch {
		case name == "":
		case o.Value == "":
			set.BoolFunc(name, o.Usage, o.Set)
		default:
			set.Func(name, o.Usage, o.Set)
		}
	}
}

// Flags collect what the flags of one command line say. A program that has
// flags of its own beside them registers the Options itself, parses, and calls
// Finish.
type Flags struct {
	Parsed
	UIDsSet bool // -u is given, and not empty

	gids string // -g as written; the uids stand in when it is empty
}

// New returns the defaults.
func New() *Flags {
	return &Flags{Parsed: Parsed{Config: redirect.DefaultConfig()}}
}

// Plan returns the options that choose what is captured.
func (f *Flags) Plan() []Option {
	p := &f.Config
	return []Option{
		{Long: "envoy-port", Short: "p", Value: "port", Usage: "captured outbound connections arrive here (default 15001)", Set: port(&p.OutboundPort)},
		istio("inbound-capture-port", "z", "port", "captured inbound connections arrive here (default 15006)", port(&p.InboundPort)),
		istio("inbound-tunnel-port", "e", "port", "inbound connections to it are never captured (default 15008)", port(&p.TunnelPort)),
		istio("proxy-uid", "u", "uids", "what these users send is the proxy's own (default 1337)", f.setUIDs),
		istio("proxy-gid", "g", "gids", "the same for groups (default: the values of -u)", f.setGIDs),
		istio("istio-inbound-interception-mode", "m", "mode", "REDIRECT is the only mode so far", inboundMode),
		istio("istio-inbound-ports", "b", "ports", "inbound ports to capture, or * for all (default none)", portsOrAll(&p.IncludeInboundPorts)),
		istio("istio-local-exclude-ports", "d", "ports", "inbound ports to leave alone (default 15020,15021,15090)", ports(&p.ExcludeInboundPorts)),
		istio("istio-service-cidr", "i", "cidrs", "outbound destinations to capture, or * for all (default none)", cidrsOrAll(&p.IncludeOutboundCIDRs)),
		istio("istio-service-exclude-cidr", "x", "cidrs", "outbound destinations to leave alone", cidrs(&p.ExcludeOutboundCIDRs)),
		istio("istio-outbound-ports", "q", "ports", "outbound ports to capture wherever they go, unless -x holds the destination", ports(&p.IncludeOutboundPorts)),
		istio("istio-local-outbound-ports-exclude", "o", "ports", "outbound ports to leave alone", ports(&p.ExcludeOutboundPorts)),
		istio("istio-exclude-interfaces", "c", "interfaces", "what arrives or leaves over these is left alone", interfaces(&p.ExcludeInterfaces)),
		{Long: "include-inbound-cidrs", Value: "cidrs", Usage: "callers to capture at every port, or * for all", Set: cidrsOrAll(&p.IncludeInboundCIDRs)},
		{Long: "exclude-inbound-cidrs", Value: "cidrs", Usage: "callers to leave alone", Set: cidrs(&p.ExcludeInboundCIDRs)},
		{Long: "owner-groups", Value: "gids", Usage: "capture outbound connections of these groups alone (default * for all)", Set: groups(&p.OwnerGroups), Env: "ISTIO_OUTBOUND_OWNER_GROUPS"},
		{Long: "exclude-owner-groups", Value: "gids", Usage: "leave outbound connections of these groups alone", Set: groups(&p.ExcludeOwnerGroups), Env: "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"},
		{Long: "drop-invalid", Usage: "drop arriving TCP that connection tracking can't place", Set: Switch(&p.DropInvalid), Env: "INVALID_DROP"},
		{Long: "closed-ports", Value: "refuse|capture|auto", Usage: "what arrives for a port on which nobody listens: refuse it, capture it, or auto to refuse it where the backend can tell (default auto)", Set: closedPorts(&p.ClosedPorts)},
		{Long: "ipv4", Value: "on|off", Usage: "steer IPv4 (default on)", Set: onOff(&p.IPv4)},
		{Long: "ipv6", Value: "on|off", Usage: "steer IPv6 (default on)", Set: onOff(&p.IPv6)},
	}
}

// ByName returns the option that names the backend.
func (f *Flags) ByName() Option {
	return Option{Long: "backend", Value: "name", Usage: "nftables, iptables, iptables-nft, iptables-legacy, or auto for the first that works (default auto)", Set: f.setBackend}
}

// Finish decides what depends on more than one flag.
func (f *Flags) Finish() (err error) {
	f.Config.ProxyGIDs = f.Config.ProxyUIDs
	if f.gids != "" {
		f.Config.ProxyGIDs, err = parseIDs(f.gids)
	}
	return err
}

func (f *Flags) setBackend(s string) error {
	if s == "" {
		return errors.New("no backend (leave the flag away for the default)")
	}
	f.Backend = s
	return nil
}

func (f *Flags) setUIDs(s string) error {
	if s == "" { // istio-iptables' way to ask for the default
		f.Config.ProxyUIDs = redirect.DefaultConfig().ProxyUIDs
		return nil
	}
	f.UIDsSet = true
	ids, err := parseIDs(s)
	f.Config.ProxyUIDs = ids
	return err
}

func (f *Flags) setGIDs(s string) error {
	f.gids = s
	_, err := parseIDs(s)
	return err
}
