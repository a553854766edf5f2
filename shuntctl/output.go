// SPDX-License-Identifier: Apache-2.0

package shuntctl

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"sigs.k8s.io/yaml"
)

// format is how results are printed; it is a pflag.Value.
type format string

const (
	table      format = "table"
	formatJSON format = "json"
	formatYAML format = "yaml"
)

// String returns the flag's text.
func (f *format) String() string { return string(*f) }

// Type names the flag's values in the help.
func (f *format) Type() string { return "format" }

// Set accepts one of the formats.
func (f *format) Set(s string) error {
	switch format(s) {
	case table, formatJSON, formatYAML:
		*f = format(s)
		return nil
	default:
		return fmt.Errorf("%q is not allowed (allowed: table, json, yaml)", s)
	}
}

// addOutput gives a command that prints a result the flag -o.
func (g *globals) addOutput(cmd *cobra.Command) {
	cmd.Flags().VarP(&g.output, "output", "o", "output format: table, json or yaml")
	complete := cobra.FixedCompletions([]string{string(table), string(formatJSON), string(formatYAML)}, cobra.ShellCompDirectiveNoFileComp)
	// The only error is a flag that does not exist, and it was added above.
	_ = cmd.RegisterFlagCompletionFunc("output", complete)
}

// print writes v in the chosen format; human writes the table.
func (g *globals) print(v any, human func(io.Writer)) error {
	switch g.output {
	case formatJSON:
		enc := json.NewEncoder(g.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	case formatYAML:
		body, err := yaml.Marshal(v)
		if err != nil {
			return fmt.Errorf("print result: %w", err)
		}
		_, err = g.Out.Write(body)
		return err
	default:
		human(g.Out)
		return nil
	}
}

// progress writes one step to stderr.
func (g *globals) progress(step string) {
	fmt.Fprintf(g.Err, "%s %s\n", paint(g.Err, grey, "..."), step)
}

const (
	red    = "31"
	green  = "32"
	yellow = "33"
	grey   = "90"
)

// paint colours s on a terminal alone, and not where NO_COLOR is set
// (no-color.org).
func paint(w io.Writer, colour, s string) string {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || !term.IsTerminal(int(f.Fd())) {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}
