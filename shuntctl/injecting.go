// SPDX-License-Identifier: Apache-2.0

package shuntctl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/version"
	"github.com/shuntmesh/shunt/shuntctl/install"
	"github.com/shuntmesh/shunt/shuntctl/workload"
	"github.com/shuntmesh/shunt/webhook/inject"
)

// readTimeout bounds what is read from a cluster: one or two small objects.
const readTimeout = 30 * time.Second

// injectFlags say what the webhook would be told.
type injectFlags struct {
	files       []string
	options     inject.Options
	pullPolicy  string
	discoveryCA string
}

func (f *injectFlags) addFiles(cmd *cobra.Command, usage string) {
	cmd.Flags().StringArrayVarP(&f.files, "filename", "f", nil, "`file` "+usage+"; - is standard input")
}

func (f *injectFlags) addDecision(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.options.ClassicSidecars, "classic-sidecars", false, "the cluster has no native sidecars (before Kubernetes 1.29)")
	cmd.Flags().Var((*capture)(&f.options.Interception), "capture", "who redirects the pods' traffic, init or cni, as the webhook's flag of that name has it (default init)")
	completeCapture(cmd)
	cmd.Flags().BoolVar(&f.options.IstioCompat, "istio-compat", false, "Istio's labels turn injection on, as the webhook's flag of that name has it")
}

func newInject(g *globals) *cobra.Command {
	var f injectFlags
	cmd := &cobra.Command{
		Use:   "inject -f FILE",
		Short: "Put the proxy into pods and pod templates of YAML files",
		Long: `Does to files what the webhook does to pods: writes the same documents with the
proxy in each Pod, Deployment, DaemonSet, StatefulSet, ReplicaSet,
ReplicationController, Job and CronJob, also inside of a List. Other documents
are written byte for byte as they were; in those that change, comments and the
order of the keys stay, unless they use anchors. A Namespace among the documents
counts for the pods in it; where nobody says anything, a pod is injected. When
one is refused, nothing is written.

The proxies trust discovery by the certificates of the cluster that the
kubeconfig names, or those of --discovery-ca, which needs no cluster.`,
		Example: `  shuntctl inject -f deployment.yaml | kubectl apply -f -
  kustomize build . | shuntctl inject -f - --discovery-ca ca.pem > out.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := withTimeout(cmd.Context(), readTimeout)
			defer cancel()
			if err := f.complete(ctx, g); err != nil {
				return err
			}
			return g.editFiles(cmd.InOrStdin(), f.files, func(in io.Reader, out io.Writer) ([]workload.Outcome, error) {
				return workload.Inject(in, out, f.options)
			})
		},
	}
	f.addFiles(cmd, "to read")
	f.addDecision(cmd)
	flags := cmd.Flags()
	f.options.Version = version.Version
	flags.StringVar(&f.options.Image, "image", "shunt.dev/dataplane:"+version.Version, "`image` of the data plane")
	flags.StringVar(&f.pullPolicy, "image-pull-policy", string(corev1.PullIfNotPresent), "Always, IfNotPresent or Never")
	flags.StringArrayVar(&f.options.PullSecrets, "image-pull-secret", nil, "`name` of a Secret that the image is pulled with; the service account's own are then no longer added to the pod")
	flags.StringVar(&f.options.DiscoveryAddress, "discovery-address",
		fmt.Sprintf("%s.%s.svc:%d", contract.DiscoveryService, contract.SystemNamespace, contract.PortDiscovery), "`host:port` of discovery")
	flags.StringVar(&f.discoveryCA, "discovery-ca", "", "`file` of the PEM certificates that discovery is verified with (default: the cluster's)")
	return cmd
}

func (f *injectFlags) complete(ctx context.Context, g *globals) error {
	f.options.PullPolicy = corev1.PullPolicy(f.pullPolicy)
	switch f.options.PullPolicy {
	case corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever:
	default:
		return fmt.Errorf("read --image-pull-policy: %q is unknown (allowed: Always, IfNotPresent, Never)", f.pullPolicy)
	}
	if f.discoveryCA != "" {
		pem, err := os.ReadFile(f.discoveryCA)
		f.options.DiscoveryCA = string(pem)
		if err != nil {
			return fmt.Errorf("read --discovery-ca: %w", err)
		}
		return nil
	}
	cluster, err := install.Connect(g.kubeconfig, g.context)
	if err != nil {
		return fmt.Errorf("%w; or name a file of the mesh's certificates with --discovery-ca", err)
	}
	f.options.DiscoveryCA, err = workload.CABundle(ctx, cluster.Client)
	return err
}

func newUninject(g *globals) *cobra.Command {
	var f injectFlags
	cmd := &cobra.Command{
		Use:     "uninject -f FILE",
		Short:   "Take the proxy out of pods and pod templates of YAML files",
		Long:    "Takes back what shuntctl inject, or the webhook, has added. It needs no cluster.",
		Example: "  kubectl get pod web -o yaml | shuntctl uninject -f -",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.editFiles(cmd.InOrStdin(), f.files, workload.Uninject)
		},
	}
	f.addFiles(cmd, "to read")
	return cmd
}

// editFiles writes the documents of all files to stdout, and to stderr what was
// left alone and why.
func (g *globals) editFiles(stdin io.Reader, files []string, edit func(io.Reader, io.Writer) ([]workload.Outcome, error)) error {
	in, err := readFiles(stdin, files)
	if err != nil {
		return err
	}
	outcomes, err := edit(in, g.Out)
	if err != nil {
		return err
	}
	for _, o := range outcomes {
		if !o.Changed {
			fmt.Fprintf(g.Err, "%s %s\n", paint(g.Err, grey, o.Object+" stays as it is:"), o.Message)
		}
		for _, warning := range o.Warnings {
			fmt.Fprintf(g.Err, "%s %s: %s\n", paint(g.Err, yellow, "warning:"), o.Object, warning)
		}
	}
	return nil
}

// readFiles returns all files as one stream, so that a Namespace in one of them
// counts for the pods in another.
func readFiles(stdin io.Reader, names []string) (io.Reader, error) {
	if len(names) == 0 {
		return nil, errors.New("no file named (add -f FILE; -f - reads standard input)")
	}
	var all bytes.Buffer
	for i, name := range names {
		if i > 0 {
			all.WriteString("\n---\n")
		}
		in := stdin
		if name != "-" {
			file, err := os.Open(filepath.Clean(name))
			if err != nil {
				return nil, err
			}
			defer file.Close() // it is only read
			in = file
		}
		// One byte more than is allowed, so that too much is seen.
		if _, err := io.Copy(&all, io.LimitReader(in, workload.MaxInput+1)); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	return &all, nil
}
