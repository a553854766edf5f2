// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/shuntmesh/shunt/redirect/flags"
)

// readEnv sets what the environment names. An empty variable says nothing.
func readEnv(options []flags.Option, lookup func(string) (string, bool)) error {
	if lookup == nil {
		return nil
	}
	for _, o := range options {
		if o.Env == "" {
			continue
		}
		value, _ := lookup(o.Env)
		if value == "" {
			continue
		}
		if err := o.Set(value); err != nil {
			return fmt.Errorf("environment variable %s: value %q: %w", o.Env, value, err)
		}
	}
	return nil
}

// variables are those that have no flag, or another name than it.
func (c *command) variables() []flags.Option {
	return append(flags.Variables(), flags.Option{Env: "ENVOY_USER", Set: flags.Text(&c.proxyUser)})
}
