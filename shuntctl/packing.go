// SPDX-License-Identifier: Apache-2.0

package shuntctl

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/shuntmesh/shunt/shuntctl/images"
)

func newImages(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "images",
		Short: "Pack Shunt's binaries into container images",
		Long: `Packs the static binaries of a build into container images, without Docker:
save writes tarballs to load into nodes, push writes to a registry.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSave(g), newPush(g))
	return cmd
}

func newSave(g *globals) *cobra.Command {
	var binDir, out string
	var withIPTables bool
	cmd := &cobra.Command{
		Use:   "save",
		Short: "Write the images as tarballs, as docker save does",
		Example: `  shuntctl images save --bin-dir bin -o images
  ctr -n k8s.io images import images/dataplane.tar       # on every node; or:
  kind load image-archive images/dataplane.tar`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			results, err := images.Save(specs(withIPTables), binDir, out)
			if err != nil {
				return err
			}
			return g.printImages(results)
		},
	}
	cmd.Flags().StringVar(&binDir, "bin-dir", "bin", "`folder` of the static binaries")
	addWithIPTables(cmd, &withIPTables)
	// As in `docker save`, -o is where the images go; the table is the only format.
	cmd.Flags().StringVarP(&out, "output", "o", "images", "`folder` for one tarball each, or a file *.tar for all")
	return cmd
}

func newPush(g *globals) *cobra.Command {
	var (
		binDir string
		to     images.Remote

		withIPTables bool
	)
	cmd := &cobra.Command{
		Use:     "push",
		Short:   "Push the images to a registry",
		Long:    "Pushes the images to a registry, with the credentials of the docker configuration.",
		Example: "  shuntctl images push --image-registry registry.example.com/mesh",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to.Registry == "" {
				return errors.New("no registry named (add --image-registry, such as registry.example.com/mesh)")
			}
			g.progress("pushing to " + to.Registry)
			results, err := images.Push(cmd.Context(), specs(withIPTables), binDir, to)
			if err != nil {
				return err
			}
			return g.printImages(results)
		},
	}
	cmd.Flags().StringVar(&binDir, "bin-dir", "bin", "`folder` of the static binaries")
	cmd.Flags().StringVar(&to.Registry, "image-registry", "", "`registry` to push to, with an optional path")
	cmd.Flags().BoolVar(&to.PlainHTTP, "plain-http", false, "speak HTTP to the registry (loopback is always HTTP)")
	addWithIPTables(cmd, &withIPTables)
	g.addOutput(cmd)
	return cmd
}

func addWithIPTables(cmd *cobra.Command, dst *bool) {
	cmd.Flags().BoolVar(dst, "with-iptables", false, "also pack dataplane-iptables and node-iptables, for nodes without nf_tables, with this machine's iptables")
}

func specs(withIPTables bool) []images.Spec {
	if withIPTables {
		return append(images.Product(), images.IPTables()...)
	}
	return images.Product()
}

func (g *globals) printImages(results []images.Result) error {
	return g.print(results, func(w io.Writer) {
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "IMAGE\tDIGEST\tFILE")
		for _, r := range results {
			file := r.File
			if file == "" {
				file = "-"
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\n", r.Image, r.Digest, file)
		}
		_ = tw.Flush() // stdout that is gone has no one to tell
	})
}
