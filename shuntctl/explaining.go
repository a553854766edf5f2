// SPDX-License-Identifier: Apache-2.0

package shuntctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shuntmesh/shunt/internal/version"
	"github.com/shuntmesh/shunt/shuntctl/install"
	"github.com/shuntmesh/shunt/shuntctl/workload"
	"github.com/shuntmesh/shunt/webhook/inject"
)

func newExplainInjection(g *globals) *cobra.Command {
	var (
		f         injectFlags
		namespace string
	)
	cmd := &cobra.Command{
		Use:   "explain-injection POD | -f FILE",
		Short: "Say why a pod has the proxy, or why not",
		Long: `Reads a pod and its namespace, and says why the pod has the proxy or has none,
and what to do about it. It decides as the webhook of the cluster does: it asks
that for what it was told, and reads for which pods it is registered.

With -f it says what would become of the pods and pod templates of files, by the
flags alone, and needs no cluster; a Namespace among the documents counts for
the pods in it.`,
		Example: `  shuntctl explain-injection web-7d4b9c6f5-x7k2p -n shop
  shuntctl explain-injection -f deployment.yaml`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && len(f.files) > 0:
				return errors.New("both a pod and -f named (allowed: one of them)")
			case len(args) == 1:
				return g.explainPod(cmd, namespace, args[0], f)
			case len(f.files) > 0:
				return g.explainFiles(cmd.InOrStdin(), f)
			default:
				return errors.New("no pod named (add the name of one, or -f FILE)")
			}
		},
	}
	f.addFiles(cmd, "to explain")
	f.addDecision(cmd)
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "`namespace` of the pod (default the kubeconfig's)")
	g.addOutput(cmd)
	return cmd
}

func (g *globals) explainPod(cmd *cobra.Command, namespace, name string, f injectFlags) error {
	ctx, cancel := withTimeout(cmd.Context(), readTimeout)
	defer cancel()
	cluster, err := install.Connect(g.kubeconfig, g.context)
	if err != nil {
		return err
	}
	if namespace == "" {
		if namespace, err = install.Namespace(g.kubeconfig, g.context); err != nil {
			return err
		}
	}
	told, warning := f.told(ctx, cluster)
	e, err := workload.Explain(ctx, cluster.Client, namespace, name, told)
	if err != nil {
		return err
	}
	if warning != "" {
		e.Warnings = append(e.Warnings, warning)
	}
	return g.print(e, func(w io.Writer) { writeExplanation(w, e) })
}

// told is what the cluster's webhook was told, or the flags when it can't be
// asked.
func (f injectFlags) told(ctx context.Context, cluster *install.Cluster) (o inject.Options, warning string) {
	o, err := workload.Configured(ctx, cluster.REST)
	switch {
	case err != nil:
		return f.options, "what the webhook was told is not known, so the flags of this command count: " + err.Error()
	case o.Version != version.Version:
		return o, fmt.Sprintf("the webhook is version %s and this is %s: it may decide otherwise", o.Version, version.Version)
	default:
		return o, ""
	}
}

func writeExplanation(w io.Writer, e *workload.Explanation) {
	verdict := paint(w, yellow, "no proxy")
	if e.Injected {
		verdict = paint(w, green, "injected")
	}
	fmt.Fprintf(w, "pod %s/%s: %s (%s)\n  %s\n", e.Namespace, e.Pod, verdict, e.Reason, e.Message)
	if e.Status != nil {
		fmt.Fprintf(w, "  containers %s; interception %s\n", strings.Join(e.Status.Containers, ", "), e.Status.Interception)
	}
	if e.Advice != "" {
		fmt.Fprintf(w, "  %s\n", e.Advice)
	}
	for _, warning := range e.Warnings {
		fmt.Fprintf(w, "  %s %s\n", paint(w, yellow, "warning:"), warning)
	}
}

func (g *globals) explainFiles(stdin io.Reader, f injectFlags) error {
	in, err := readFiles(stdin, f.files)
	if err != nil {
		return err
	}
	all, err := workload.Review(in, f.options)
	if err != nil {
		return err
	}
	return g.print(all, func(w io.Writer) {
		for _, o := range all {
			verdict := paint(w, yellow, "no proxy")
			if o.Changed {
				verdict = paint(w, green, "would be injected")
			}
			fmt.Fprintf(w, "%s: %s (%s)\n  %s\n", o.Object, verdict, o.Reason, o.Message)
			for _, warning := range o.Warnings {
				fmt.Fprintf(w, "  %s %s\n", paint(w, yellow, "warning:"), warning)
			}
		}
	})
}
