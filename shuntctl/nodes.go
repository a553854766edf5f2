// SPDX-License-Identifier: Apache-2.0

package shuntctl

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/shuntmesh/shunt/shuntctl/install"
)

func newNode(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Look at what runs on the nodes",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newNodeStatus(g))
	return cmd
}

func newNodeStatus(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [NODE...]",
		Short: "Say how each node captures pods, and whether its agent works",
		Long: `Reads the agents' pods, and what each agent wrote of its node into the annotation
shunt.dev/node: the backend that it chose by trying, and why; whether the CNI
plugin is in place; and whether the container runtime hands the plugin the pods'
annotations, or the plugin has to ask the agent for them. A second table tells of
nodes with eBPF programs: how many are attached, how many pods they capture, how
many connections they refused, or told no proxy of, whether their self-test
passes, and whose programs are at the same hooks. Its numbers may be ten minutes
old; the agents' metrics are not.`,
		Example: `  shuntctl node status
  shuntctl node status worker-1 -o wide`,
		ValidArgsFunction: g.completeNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := withTimeout(cmd.Context(), readTimeout)
			defer cancel()
			cluster, err := install.Connect(g.kubeconfig, g.context)
			if err != nil {
				return err
			}
			agents, err := cluster.Agents(ctx)
			if err != nil {
				return err
			}
			if agents, err = named(agents, args); err != nil {
				return err
			}
			if !slices.ContainsFunc(agents, func(a install.Agent) bool { return a.State != install.AgentMissing }) {
				g.progress("no agent runs; nodes capture after: shuntctl install --capture=cni")
			}
			return g.print(agents, func(w io.Writer) {
				writeAgents(w, agents, g.output == wide)
				writePrograms(w, agents, g.output == wide)
			})
		},
	}
	g.addOutput(cmd, wide)
	return cmd
}

// named keeps the nodes that were asked for; none is all.
func named(agents []install.Agent, names []string) ([]install.Agent, error) {
	if len(names) == 0 {
		return agents, nil
	}
	for _, name := range names {
		if !slices.ContainsFunc(agents, func(a install.Agent) bool { return a.Node == name }) {
			return nil, fmt.Errorf("node %q: there is none of that name that runs Linux", name)
		}
	}
	return slices.DeleteFunc(agents, func(a install.Agent) bool { return !slices.Contains(names, a.Node) }), nil
}

func writeAgents(w io.Writer, agents []install.Agent, all bool) {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	columns := []string{"NODE", "AGENT", "BACKEND", "VERSION", "PLUGIN"}
	if all {
		columns = append(columns, "RESTARTS", "POD", "ANNOTATIONS", "WHY THIS BACKEND")
	}
	fmt.Fprintln(tw, strings.Join(columns, "\t"))
	for _, a := range agents {
		plugin := a.Says.Plugin
		if a.Trouble != "" {
			plugin = strings.TrimPrefix(plugin+"; "+a.Trouble, "; ")
		}
		backend := a.Says.Backend
		if a.Says.Preferred != "" {
			backend += " (not " + a.Says.Preferred + ")"
		}
		row := []string{a.Node, a.State, backend, a.Says.Version, plugin}
		if all {
			row = append(row, fmt.Sprint(a.Restarts), a.Pod, a.Says.Annotations, a.Says.Reason)
		}
		for i, cell := range row {
			row[i] = cmp.Or(strings.Join(strings.Fields(cell), " "), "-") // a row is a line
		}
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	_ = tw.Flush() // stdout that is gone has no one to tell
}

// completeTimeout keeps a shell from hanging at a cluster that is away.
const completeTimeout = 2 * time.Second

func (g *globals) completeNodes(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := withTimeout(cmd.Context(), completeTimeout)
	defer cancel()
	cluster, err := install.Connect(g.kubeconfig, g.context)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	agents, err := cluster.Agents(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
	for _, a := range agents {
		if !slices.Contains(args, a.Node) {
			names = append(names, a.Node)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
