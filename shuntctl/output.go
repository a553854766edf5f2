// SPDX-License-Identifier: Apache-2.0

package shuntctl

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"sigs.k8s.io/yaml"
)

// format is how results are printed.
type format string

const (
	table      format = "table"
	wide       format = "wide" // of some commands: a table with all columns
	formatJSON format = "json"
	formatYAML format = "yaml"
)

// formatFlag sets a format; it is a pflag.Value.
type formatFlag struct {
	to      *format
	allowed []string
}

// String returns the flag's text.
func (f *formatFlag) String() string {
	if f.to == nil { // as pflag asks of a value's zero
		return ""
	}
	return string(*f.to)
}

// Type names the flag's values in the help.
func (f *formatFlag) Type() string { return "format" }

// Set accepts one of the formats.
func (f *formatFlag) Set(s string) error {
	if !slices.Contains(f.allowed, s) {
		return fmt.Errorf("%q is not allowed (allowed: %s)", s, strings.Join(f.allowed, ", "))
	}
	*f.to = format(s)
	return nil
}

// addOutput gives a command that prints a result the flag -o. Some have formats
// beyond those of all.
func (g *globals) addOutput(cmd *cobra.Command, more ...format) {
	names := []string{string(table), string(formatJSON), string(formatYAML)}
	for _, m := range more {
		names = append(names, string(m))
	}
	last := len(names) - 1
	cmd.Flags().VarP(&formatFlag{&g.output, names}, "output", "o", "output format: "+strings.Join(names[:last], ", ")+" or "+names[last])
	complete := cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp)
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
