// SPDX-License-Identifier: Apache-2.0

// Package shuntctl is the command line of Shunt: it reads flags, calls install,
// images and workload, and prints what they did. Results go to stdout, progress
// and errors to stderr.
package shuntctl

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/shuntmesh/shunt/internal/version"
)

// Streams are where a command writes.
type Streams struct {
	Out io.Writer // results
	Err io.Writer // progress and errors
}

// globals are the flags of every command.
type globals struct {
	Streams
	kubeconfig string
	context    string
	output     format
}

// Run runs one command line (without the program's name) and returns the
// process's exit code: 0, or 1 with the error on Streams.Err.
func Run(ctx context.Context, args []string, s Streams) int {
	root := newRoot(s)
	root.SetArgs(args)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(s.Err, "%s %v\n", paint(s.Err, red, "error:"), err)
		return 1
	}
	return 0
}

func newRoot(s Streams) *cobra.Command {
	g := &globals{Streams: s, output: table}
	root := &cobra.Command{
		Use:   "shuntctl",
		Short: "Install Shunt, the light sidecar mesh, into a Kubernetes cluster",
		Long: `Shunt balances every gRPC and HTTP request of a labelled namespace over all
healthy replicas. Install it, label a namespace with shunt.dev/inject=enabled,
and restart its pods.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs, // with RunE: an unknown command is an error, not a page of help
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	flags := root.PersistentFlags()
	flags.StringVar(&g.kubeconfig, "kubeconfig", "", "kubeconfig `file` (default $KUBECONFIG, then ~/.kube/config)")
	flags.StringVar(&g.context, "context", "", "`name` of the kubeconfig's context (default its current one)")
	root.AddCommand(newInstall(g), newUninstall(g), newNode(g), newImages(g), newVersion(g), newInject(g), newUninject(g), newExplainInjection(g))
	return root
}

func newVersion(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of shuntctl and of the images that it installs",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
			}{version.Version}
			return g.print(v, func(w io.Writer) { fmt.Fprintln(w, v.Version) })
		},
	}
	g.addOutput(cmd)
	return cmd
}

// withTimeout bounds a command's work; zero is no bound.
func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("gave up after %s (--timeout)", d))
}
