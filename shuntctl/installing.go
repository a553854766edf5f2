// SPDX-License-Identifier: Apache-2.0

package shuntctl

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/shuntctl/install"
)

const defaultTimeout = 3 * time.Minute

func newInstall(g *globals) *cobra.Command {
	var (
		o       install.Options
		dryRun  bool
		wait    bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install Shunt's control plane, or bring it up to this version",
		Long: `Checks that the cluster can run Shunt and that its nodes can get the images,
applies the manifests by server-side apply, and waits until the control plane
works. Running it again changes nothing.

--capture=init has a container of each pod redirect its traffic, which needs
NET_ADMIN for a moment. --capture=cni has the nodes do it: an agent on each
installs a CNI plugin, and no pod needs a privilege. --capture=ebpf is the same
by eBPF, with no rule in a pod; a node that can't do it does as with cni, and
says why (shuntctl node status -o wide). A mesh can be changed from any to any
other; pods keep the capture that they were created with.`,
		Example: `  # images were loaded into every node (see: shuntctl images save)
  shuntctl install
  # the nodes capture; pods need no capability
  shuntctl install --capture=cni
  # nodes pull from a registry (see: shuntctl images push)
  shuntctl install --image-registry registry.example.com/mesh
  # read, or keep in git, what would be applied
  shuntctl install --dry-run > shunt.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dryRun {
				return g.render(install.Form{Registry: o.Registry.Registry, Capture: o.Capture})
			}
			ctx, cancel := withTimeout(cmd.Context(), timeout)
			defer cancel()
			cluster, err := install.Connect(g.kubeconfig, g.context)
			if err != nil {
				return err
			}
			o.NoWait, o.Report, o.Progress = !wait, g.report(), g.progress
			result, err := cluster.Install(ctx, o)
			if err != nil {
				return err
			}
			return g.print(result, func(w io.Writer) { g.installed(w, result, wait) })
		},
	}
	flags := cmd.Flags()
	flags.Var((*capture)(&o.Capture), "capture", "who redirects the traffic of pods, init, cni or ebpf (default: as installed, and init where nothing is)")
	completeCapture(cmd)
	flags.StringVar(&o.Registry.Registry, "image-registry", "", "`registry` that nodes pull the images from, with an optional path (default: nodes hold the images)")
	flags.BoolVar(&o.Registry.PlainHTTP, "plain-http", false, "look the images up by HTTP (loopback is always HTTP)")
	flags.DurationVar(&o.ImageWait, "image-wait", install.DefaultImageWait, "how long nodes may take to report images that were just loaded")
	flags.BoolVar(&o.SkipImageCheck, "skip-image-check", false, "install without looking whether nodes can get the images")
	flags.BoolVar(&dryRun, "dry-run", false, "print the manifests as YAML and change nothing; needs no cluster")
	flags.BoolVar(&wait, "wait", true, "wait until the control plane works")
	flags.DurationVar(&timeout, "timeout", defaultTimeout, "give up after this time; 0 is never")
	g.addOutput(cmd)
	return cmd
}

func newUninstall(g *globals) *cobra.Command {
	var (
		o       install.Options
		wait    bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove Shunt's control plane and all that it made",
		Long: `Removes the webhook configuration first, so that no pod is refused meanwhile,
and the namespace shunt-system last. Where the nodes capture, their agents take
out the CNI plugin's configuration and then the plugin. Running pods keep their
sidecar and go on passing traffic until they are restarted; the command lists
them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := withTimeout(cmd.Context(), timeout)
			defer cancel()
			cluster, err := install.Connect(g.kubeconfig, g.context)
			if err != nil {
				return err
			}
			o.NoWait, o.Report, o.Progress = !wait, g.report(), g.progress
			result, err := cluster.Uninstall(ctx, o)
			if err != nil {
				return err
			}
			return g.print(result, func(w io.Writer) { g.uninstalled(w, result) })
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.RemoveRules, "remove-rules", false, "also take the redirection out of running pods that nodes capture: their traffic then passes their sidecar by")
	flags.BoolVar(&wait, "wait", true, "wait until all is gone")
	flags.DurationVar(&timeout, "timeout", defaultTimeout, "give up after this time; 0 is never")
	g.addOutput(cmd)
	return cmd
}

func (g *globals) render(f install.Form) error {
	objects, err := install.Render(f)
	if err != nil {
		return err
	}
	body, err := install.YAML(objects)
	if err != nil {
		return err
	}
	_, err = g.Out.Write(body)
	return err
}

// report prints each change as it happens; other formats have it in the result.
func (g *globals) report() install.Report {
	if g.output != table {
		return nil
	}
	return func(c install.Change) {
		colour := green
		if c.Action == "unchanged" || c.Action == "absent" {
			colour = grey
		}
		fmt.Fprintf(g.Out, "%s %s\n", c.Object, paint(g.Out, colour, c.Action))
	}
}

func (g *globals) installed(w io.Writer, r *install.Result, waited bool) {
	if r.Was != "" {
		fmt.Fprintf(w, "New pods are captured by %s from now on, before by %s; running ones stay as they are.\n", r.Capture, r.Was)
	}
	g.silent(w, r.Silent)
	if len(r.ByNode) > 0 {
		fmt.Fprintf(w, "%s pods that their nodes capture are still there, and with them what runs on the nodes.\nRestart them, then run shuntctl install again, which takes it out:\n", paint(w, yellow, "note:"))
		restarts(w, r.ByNode)
	}
	if !waited {
		fmt.Fprintf(w, "Shunt is applied; its control plane starts in namespace %s.\n", contract.SystemNamespace)
		return
	}
	fmt.Fprintf(w, "%s Give a namespace the mesh, then restart its pods:\n", paint(w, green, "Shunt is installed."))
	fmt.Fprintf(w, "  kubectl label namespace NAME %s=%s\n", contract.LabelInject, contract.InjectEnabled)
	fmt.Fprintln(w, "  kubectl -n NAME rollout restart deployment")
}

func (g *globals) uninstalled(w io.Writer, r *install.Result) {
	fmt.Fprintln(w, paint(w, green, "Shunt is uninstalled."))
	g.silent(w, r.Silent)
	if len(r.Leftovers) == 0 {
		return
	}
	pods := 0
	for _, l := range r.Leftovers {
		pods += l.Pods
	}
	fmt.Fprintf(w, "%s %d running pods still carry a sidecar. They go on passing traffic, but learn of\nno new endpoints; restart them:\n", paint(w, yellow, "warning:"), pods)
	restarts(w, r.Leftovers)
}

// silent warns of nodes on which something may be left.
func (g *globals) silent(w io.Writer, nodes []string) {
	if len(nodes) == 0 {
		return
	}
	fmt.Fprintf(w, "%s these nodes' agents didn't say that they have cleaned up: %s\nLook on them for %s in /etc/cni/net.d, and only then in /opt/cni/bin (docs/capture.md).\n",
		paint(w, yellow, "warning:"), strings.Join(nodes, ", "), contract.PluginBinary)
}

func restarts(w io.Writer, workloads []install.Leftover) {
	for _, l := range workloads {
		fmt.Fprintf(w, "  %s\n", l.Restart())
	}
}
