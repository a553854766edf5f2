// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/shuntmesh/shunt/redirect/backends"
)

// detect says which backends work on this host. It is an error where none does.
func (c command) detect(ctx context.Context, env Env) error {
	found, err := backends.Detect(ctx, env.Backends)
	if err != nil {
		return err
	}
	if err := write(env.Stdout, c.format, found, func() string { return detectText(found) }); err != nil {
		return err
	}
	if !slices.ContainsFunc(found, func(d backends.Detected) bool { return d.Auto }) {
		return errors.New("no backend works here")
	}
	return nil
}

func detectText(found []backends.Detected) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "BACKEND\tWORKS\tCLOSED PORTS\tWHY NOT")
	for _, d := range found {
		works := "no"
		switch {
		case d.Auto:
			works = "yes, auto takes it"
		case d.Works:
			works = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", d.Backend, works, d.ClosedPorts, strings.ReplaceAll(d.Why, "\n", "; "))
	}
	_ = w.Flush() // into memory
	return b.String()
}
