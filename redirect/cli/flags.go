// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/flags"
)

// command is what a command line asks for.
type command struct {
	*flags.Flags
	plan      redirect.Plan // of the flags; none for remove and detect
	backends  backends.Choice
	netns     string // path of the network namespace, or "" for the caller's
	dryRun    bool
	format    string // of print, check, explain and detect
	question  question
	proxyUser string // $ENVOY_USER, which would name the uid
	wait      time.Duration
	program   []string // takes the place of validate
}

// parse reads the flags of a verb, and istio-iptables' environment variables
// below them. It has no side effects.
func parse(verb string, args []string, env Env) (command, error) {
	c := command{Flags: flags.New(), format: formatText}
	if verb == verbValidate {
		var err error
		if args, c.program, err = then(args); err != nil {
			return command{}, err
		}
	}
	if verb == verbExplain { // of a pod without annotations
		c.Config.IncludeInboundPorts.All, c.Config.IncludeOutboundCIDRs.All = true, true
	}
	set := flag.NewFlagSet(verb, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	options := c.options(verb)
	for _, o := range options {
		o.Register(set)
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

// finish decides what depends on more than one flag.
func (c *command) finish(verb string, rest []string, all []backends.Backend) (err error) {
	if err := c.Finish(); err != nil {
		return err
	}
	if c.proxyUser != "" && !c.UIDsSet {
		return fmt.Errorf("environment variable ENVOY_USER: value %q is not possible without -u (allowed: a uid with -u; names mean nothing in an image without users)", c.proxyUser)
	}
	if verb == verbExplain {
		if err := c.question.setFlow(rest); err != nil {
			return err
		}
	} else if len(rest) > 0 {
		return flags.Unexpected(rest[0])
	}
	if c.backends, err = backends.Choose(cmp.Or(c.Backend, backends.Auto), all); err != nil {
		return fmt.Errorf("--backend: %w", err)
	}
	if verb == verbRemove || verb == verbDetect {
		return nil
	}
	if c.plan, err = redirect.NewPlan(c.Config); err != nil || verb != verbExplain {
		return err
	}
	return c.question.validate(c.Config)
}

// options returns the flags that a verb takes.
func (c *command) options(verb string) []flags.Option {
	output := flags.Option{Long: "output", Short: "o", Value: "format", Usage: strings.Join(formats(verb), ", ") + " (default text)", Set: c.setFormat(verb)}
	if verb == verbDetect {
		return []flags.Option{output}
	}
	where := []flags.Option{
		{Long: "netns", Value: "path", Usage: "act in the network namespace at this path, such as /proc/123/ns/net (default: the caller's)", Set: flags.Text(&c.netns)},
		{Long: "network-namespace", Value: "path", Usage: "the same", Set: flags.Text(&c.netns)},
		c.ByName(),
	}
	if verb == verbRemove {
		return where
	}
	all := c.Plan()
	if verb == verbApply || verb == verbCheck {
		all = append(all, where...)
	}
	if verb == verbExplain {
		all = append(all, c.question.options()...)
	}
	if verb == verbApply {
		all = append(all, flags.Option{Long: "dry-run", Short: "n", Usage: "print the plan and change nothing", Set: flags.Switch(&c.dryRun)})
		return append(all, c.Istio()...)
	}
	if verb == verbValidate {
		return slices.Concat(all, c.validateOptions(), []flags.Option{c.ByName()}, c.Istio())
	}
	// No port list reads like a format, so a line for apply can be pasted.
	i := slices.IndexFunc(all, func(o flags.Option) bool { return o.Short == "o" })
	ports := all[i]
	all[i].Short = ""
	output.Value, output.Usage = "format|ports", output.Usage+"; or ports, as in apply"
	output.Set = eitherFormatOr(output.Set, formats(verb), ports.Set)
	return append(append(all, output), c.Istio()...)
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
