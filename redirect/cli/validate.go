// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shuntmesh/shunt/redirect/flags"
	"github.com/shuntmesh/shunt/redirect/validate"
)

// defaultWait is how long a pod waits to be captured. A node that comes up takes
// a minute or two until its agent runs; a container that gives up earlier would
// only be started again.
const defaultWait = 5 * time.Minute

// then cuts off the program that takes this one's place when all is proven: what
// stands behind "--".
func then(args []string) (rest, program []string, err error) {
	i := slices.Index(args, "--")
	switch {
	case i < 0:
		return args, nil, nil
	case i == len(args)-1:
		return nil, nil, errors.New("nothing behind -- (allowed: a program and its arguments)")
	default:
		return args[:i], args[i+1:], nil
	}
}

// validateOptions are of validate alone.
func (c *command) validateOptions() []flags.Option {
	c.wait = defaultWait
	return []flags.Option{{
		Long: "timeout", Value: "time", Usage: fmt.Sprintf("how long to wait until all is as planned, such as 30s; 0s is one look (default %v)", defaultWait),
		Set: func(s string) (err error) {
			if c.wait, err = time.ParseDuration(s); err != nil || c.wait < 0 {
				return errors.New("not a length of time (allowed: 0s or more, such as 30s or 5m)")
			}
			return nil
		},
	}}
}

// validate proves what it can, and then becomes the program that it was given.
func (c command) validate(ctx context.Context, env Env) int {
	proven, err := validate.Run(ctx, validate.Options{
		Plan:  c.plan,
		Owner: env.Owner,
		Wait:  c.wait,
		Say:   func(line string) { fmt.Fprintln(env.Stderr, "redirect:", line) },
	})
	if different := new(validate.Unproven); errors.As(err, &different) {
		return report(env, verbValidate, ExitDifferent, err)
	}
	if err != nil {
		return report(env, verbValidate, ExitFailed, err)
	}
	fmt.Fprintln(env.Stdout, "redirect: as planned:", proven)
	if len(c.program) == 0 {
		return ExitOK
	}
	if err := env.Exec(c.program); err != nil {
		return report(env, verbValidate, ExitFailed, fmt.Errorf("start %s: %w", c.program[0], err))
	}
	return ExitOK
}
