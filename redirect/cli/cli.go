// SPDX-License-Identifier: Apache-2.0

// Package cli is the command `redirect`: the init container that steers a pod's
// connections to its proxy, and the tool with which a person looks at the
// result. It reads flags and istio-iptables' environment variables, writes to
// the streams it is given, and leaves the decision to package redirect and the
// deed to a Backend.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/shuntmesh/shunt/internal/version"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/netns"
	"github.com/shuntmesh/shunt/redirect/validate"
)

// The exit codes.
const (
	ExitOK        = 0 // done, or as planned
	ExitDifferent = 1 // check found a difference
	ExitUsage     = 2 // the command line asks for something impossible
	ExitFailed    = 3 // the kernel refused, or a privilege is missing
)

const (
	verbApply    = "apply"
	verbCheck    = "check"
	verbRemove   = "remove"
	verbValidate = "validate"
	verbPrint    = "print"
	verbExplain  = "explain"
	verbDetect   = "detect"
)

func verbs() []string {
	return []string{verbApply, verbCheck, verbRemove, verbValidate, verbPrint, verbExplain, verbDetect}
}

// actTimeout bounds what is asked of the kernel, which answers in milliseconds:
// a pod had better fail to start than hang.
const actTimeout = 30 * time.Second

// Env is the outside world of a run.
type Env struct {
	Stdout, Stderr io.Writer
	Backends       []backends.Backend
	// LookupEnv is os.LookupEnv; nil is an empty environment.
	LookupEnv func(string) (string, bool)
	// Owner is of this process's sockets.
	Owner validate.Owner
	// Exec becomes another program, with its arguments; it returns where it can't.
	Exec func(argv []string) error
}

// Run executes a command line without the program's name, and returns the
// program's exit code.
func Run(ctx context.Context, args []string, env Env) int {
	if len(args) == 0 {
		fmt.Fprint(env.Stderr, overview)
		return ExitUsage
	}
	verb := args[0]
	switch {
	case slices.Contains([]string{"-h", "-help", "--help", "help"}, verb):
		fmt.Fprint(env.Stdout, overview)
		return ExitOK
	case slices.Contains([]string{"-version", "--version"}, verb):
		fmt.Fprintln(env.Stdout, version.Version)
		return ExitOK
	case !slices.Contains(verbs(), verb):
		fmt.Fprintf(env.Stderr, "redirect: unknown command %q (allowed: %s)\n", verb, strings.Join(verbs(), ", "))
		return ExitUsage
	}
	c, err := parse(verb, args[1:], env)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(env.Stdout, help(verb))
		return ExitOK
	}
	if err != nil {
		return report(env, verb, ExitUsage, err)
	}
	if verb == verbValidate { // it waits for others, for as long as it was told
		return c.validate(ctx, env)
	}
	return act(ctx, verb, c, env)
}

// act does what a command line asks for, which parse found possible.
func act(ctx context.Context, verb string, c command, env Env) int {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	var err error
	switch verb {
	case verbPrint:
		err = c.print(env.Stdout)
	case verbExplain:
		err = c.explain(env.Stdout)
	case verbDetect:
		err = c.detect(ctx, env)
	case verbCheck:
		return c.check(ctx, env)
	default:
		err = c.change(ctx, verb, env)
	}
	if err != nil {
		return report(env, verb, ExitFailed, err)
	}
	return ExitOK
}

// change applies or removes.
func (c command) change(ctx context.Context, verb string, env Env) error {
	if c.dryRun {
		return c.print(env.Stdout)
	}
	said := "removed"
	var notes []error
	err := c.inNamespace(func() (err error) {
		if verb == verbRemove {
			notes, err = c.backends.Remove(ctx)
			return err
		}
		applied, err := c.backends.Apply(ctx, c.plan)
		notes, said = applied.Left, "no change"
		if applied.CapturesClosed != nil {
			notes = append(notes, fmt.Errorf("ports on which nobody listens are captured too: %s: %w", applied.By, applied.CapturesClosed))
		}
		if applied.Changed {
			said = "applied by " + applied.By
		}
		return err
	})
	for _, err := range notes {
		fmt.Fprintln(env.Stderr, "redirect:", err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(env.Stdout, "redirect:", said)
	return err
}

// inNamespace calls f where --netns points, or else here.
func (c command) inNamespace(f func() error) error {
	if c.netns == "" {
		return f()
	}
	return netns.In(c.netns, f)
}

// checked is what check finds.
type checked struct {
	AsPlanned      bool                 `json:"asPlanned"`
	CapturesClosed bool                 `json:"capturesClosed,omitzero"` // where the plan leaves that open
	Difference     *redirect.Difference `json:"difference,omitempty"`
}

// check tells a difference by its exit code in every format, and in text on
// the stream of errors.
func (c command) check(ctx context.Context, env Env) int {
	var found checked
	err := c.inNamespace(func() error {
		as, err := c.backends.Inspect(ctx, c.plan)
		found.CapturesClosed = as.CapturesClosed
		return err
	})
	if err != nil && !errors.As(err, &found.Difference) {
		return report(env, verbCheck, ExitFailed, err)
	}
	found.AsPlanned = err == nil
	if !found.AsPlanned && c.format == formatText {
		return report(env, verbCheck, ExitDifferent, err)
	}
	text := func() string {
		if found.CapturesClosed {
			return "redirect: as planned; ports on which nobody listens are captured too, since the backend could not tell\n"
		}
		return "redirect: as planned\n"
	}
	if err := write(env.Stdout, c.format, found, text); err != nil {
		return report(env, verbCheck, ExitFailed, err)
	}
	if !found.AsPlanned {
		return ExitDifferent
	}
	return ExitOK
}

func report(env Env, verb string, code int, err error) int {
	fmt.Fprintf(env.Stderr, "redirect %s: %v\n", verb, err)
	if code == ExitUsage {
		fmt.Fprintf(env.Stderr, "(redirect %s -h lists the flags)\n", verb)
	}
	return code
}
