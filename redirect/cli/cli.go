// SPDX-License-Identifier: Apache-2.0

// Package cli is the command `redirect`: the init container that steers a pod's
// connections to its proxy, and the tool with which a person looks at the
// result. It reads flags, writes to the streams it is given, and leaves the
// decision to package redirect and the deed to a Backend.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/shuntmesh/shunt/internal/version"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/nftables"
)

// The exit codes.
const (
	ExitOK        = 0 // done, or as planned
	ExitDifferent = 1 // check found a difference
	ExitUsage     = 2 // the command line asks for something impossible
	ExitFailed    = 3 // the kernel refused, or a privilege is missing
)

const (
	verbApply  = "apply"
	verbCheck  = "check"
	verbRemove = "remove"
	verbPrint  = "print"

	outputText = "text"
	outputJSON = "json"
	outputNFT  = "nft"
)

// actTimeout bounds what is asked of the kernel, which answers in milliseconds:
// a pod had better fail to start than hang.
const actTimeout = 30 * time.Second

// Env is the outside world of a run.
type Env struct {
	Stdout, Stderr io.Writer
	Backend        redirect.Backend
}

// Run executes a command line without the program's name, and returns the
// program's exit code.
func Run(ctx context.Context, args []string, env Env) int {
	if len(args) == 0 {
		fmt.Fprint(env.Stderr, overview)
		return ExitUsage
	}
	verb := args[0]
	switch verb {
	case "-h", "-help", "--help", "help":
		fmt.Fprint(env.Stdout, overview)
		return ExitOK
	case "-version", "--version":
		fmt.Fprintln(env.Stdout, version.Version)
		return ExitOK
	case verbApply, verbCheck, verbRemove, verbPrint:
	default:
		fmt.Fprintf(env.Stderr, "redirect: unknown command %q (allowed: apply, check, remove, print)\n", verb)
		return ExitUsage
	}
	c, err := parseFlags(verb, args[1:])
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(env.Stdout, help(verb))
		return ExitOK
	}
	var plan redirect.Plan
	if err == nil && verb != verbRemove {
		plan, err = redirect.NewPlan(c.config)
	}
	if err != nil {
		return report(env, verb, ExitUsage, err)
	}
	return act(ctx, verb, c, plan, env)
}

func act(ctx context.Context, verb string, c command, plan redirect.Plan, env Env) int {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	var err error
	switch {
	case verb == verbPrint:
		err = show(env.Stdout, plan, c.output)
	case c.dryRun:
		err = show(env.Stdout, plan, outputText)
	default:
		err = inNamespace(c.netns, func() error {
			said, err := do(ctx, verb, plan, env.Backend)
			if err == nil {
				_, err = fmt.Fprintln(env.Stdout, "redirect:", said)
			}
			return err
		})
	}
	var different *redirect.Difference
	if verb == verbCheck && errors.As(err, &different) {
		return report(env, verb, ExitDifferent, err)
	}
	if err != nil {
		return report(env, verb, ExitFailed, err)
	}
	return ExitOK
}

func do(ctx context.Context, verb string, plan redirect.Plan, b redirect.Backend) (said string, err error) {
	switch verb {
	case verbCheck:
		return "as planned", b.Check(ctx, plan)
	case verbRemove:
		return "removed", b.Remove(ctx)
	default:
		changed, err := b.Apply(ctx, plan)
		if !changed {
			return "no change", err
		}
		return "applied", err
	}
}

func show(w io.Writer, plan redirect.Plan, format string) error {
	var out string
	switch format {
	case outputJSON:
		data, err := json.MarshalIndent(plan, "", "  ")
		if err != nil {
			return fmt.Errorf("write plan as JSON: %w", err)
		}
		out = string(data) + "\n"
	case outputNFT:
		out = nftables.Text(plan)
	default:
		out = plan.String()
	}
	_, err := io.WriteString(w, out)
	return err
}

func report(env Env, verb string, code int, err error) int {
	fmt.Fprintf(env.Stderr, "redirect %s: %v\n", verb, err)
	if code == ExitUsage {
		fmt.Fprintf(env.Stderr, "(redirect %s -h lists the flags)\n", verb)
	}
	return code
}
