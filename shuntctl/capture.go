// SPDX-License-Identifier: Apache-2.0

package shuntctl

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shuntmesh/shunt/internal/contract"
)

// capture says who redirects the traffic of pods; it is a pflag.Value.
type capture string

// String returns the flag's text.
func (c *capture) String() string { return string(*c) }

// Type names the flag's values in the help.
func (c *capture) Type() string { return "capture" }

// Set accepts who can capture.
func (c *capture) Set(s string) error {
	switch s {
	case contract.InterceptionInit, contract.InterceptionCNI:
		*c = capture(s)
		return nil
	default:
		return fmt.Errorf("%q is not allowed (allowed: %s, %s)", s, contract.InterceptionInit, contract.InterceptionCNI)
	}
}

// completeCapture makes a shell know the values of --capture.
func completeCapture(cmd *cobra.Command) {
	complete := cobra.FixedCompletions([]string{
		contract.InterceptionInit + "\ta container of the pod's own, which needs NET_ADMIN",
		contract.InterceptionCNI + "\tthe node, by a CNI plugin",
	}, cobra.ShellCompDirectiveNoFileComp)
	// The only error is a flag that does not exist, and it was added above.
	_ = cmd.RegisterFlagCompletionFunc("capture", complete)
}
