// SPDX-License-Identifier: Apache-2.0

package shuntctl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shuntmesh/shunt/shuntctl/install"
)

// capture says who redirects the traffic of pods; it is a pflag.Value.
type capture string

// String returns the flag's text.
func (c *capture) String() string { return string(*c) }

// Type names the flag's values in the help.
func (c *capture) Type() string { return "capture" }

// Set accepts who can capture.
func (c *capture) Set(s string) error {
	if !slices.Contains(install.Captures(), s) {
		return fmt.Errorf("%q is not allowed (allowed: %s)", s, strings.Join(install.Captures(), ", "))
	}
	*c = capture(s)
	return nil
}

// completeCapture makes a shell know the values of --capture.
func completeCapture(cmd *cobra.Command) {
	complete := cobra.FixedCompletions([]string{
		install.CaptureInit + "\ta container of the pod's own, which needs NET_ADMIN",
		install.CaptureCNI + "\tthe node, by a CNI plugin",
		install.CaptureEBPF + "\tthe node, by eBPF where it can",
	}, cobra.ShellCompDirectiveNoFileComp)
	// The only error is a flag that does not exist, and it was added above.
	_ = cmd.RegisterFlagCompletionFunc("capture", complete)
}
