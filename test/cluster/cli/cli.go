// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line of the cluster: verbs and flags in, calls of package lifecycle out.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/shuntmesh/shunt/test/cluster/build"
	"github.com/shuntmesh/shunt/test/cluster/lifecycle"
	"github.com/shuntmesh/shunt/test/cluster/machine"
	"github.com/shuntmesh/shunt/test/cluster/progress"
)

// call is one run of the program.
type call struct {
	stdout, stderr io.Writer
	state          string
	source         string
}

// verb is one thing that the program does.
type verb struct {
	name, args, help string
	run              func(c *call, ctx context.Context, flags *flag.FlagSet, args []string) error
}

func verbs() []verb {
	return []verb{
		{"up", "", "start the cluster, after building what is not built yet", (*call).up},
		{"down", "", "remove every trace of the cluster but the built binaries", (*call).down},
		{"status", "", "show machines and daemons", (*call).status},
		{"load-image", "TAR...", "put the images of tarballs (docker save) into every node", (*call).loadImage},
		{"reboot", "NODE", "kill everything of a node and start it again", (*call).reboot},
		{"stop", "MACHINE DAEMON", "kill a daemon and keep it down, until start or reboot", (*call).stop},
		{"start", "MACHINE DAEMON", "start a daemon that was stopped", (*call).start},
		{"build", "", "only build the binaries, and print their directory", (*call).build},
		{"kubeconfig", "", "print the path of the administrator's kubeconfig", (*call).kubeconfig},
		{"bin", "", "print the directory of the binaries, kubectl among them", (*call).bin},
	}
}

// errUsage is returned for a command line that can't be understood.
var errUsage = errors.New("wrong usage")

// Main runs the command line and returns the exit code: 0, 1 for a failure, 2 for wrong usage.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := &call{stdout: stdout, stderr: stderr}
	err := c.dispatch(ctx, args)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "cluster: %v (see `cluster -h`)\n", err)
		return 2
	default:
		fmt.Fprintf(stderr, "cluster: %v\n", err)
		return 1
	}
}

func (c *call) dispatch(ctx context.Context, args []string) error {
	if len(args) == 3 && args[0] == machine.InitVerb {
		return machineInit(args[1], args[2])
	}
	flags := c.flags("cluster", c.usage)
	if err := parse(flags, args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		c.usage(c.stderr)
		return fmt.Errorf("no verb: %w", errUsage)
	}
	for _, v := range verbs() {
		if v.name == flags.Arg(0) {
			return v.run(c, ctx, c.flags(v.name, v.usage), flags.Args()[1:])
		}
	}
	return fmt.Errorf("verb %q: %w", flags.Arg(0), errUsage)
}

// flags returns a flag set with the flags that every verb has, before and after the verb.
func (c *call) flags(name string, usage func(io.Writer)) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	if c.state == "" {
		c.state = "/var/lib/shunt-cluster"
	}
	flags.StringVar(&c.state, "state", c.state, "`directory` of all files of the cluster")
	flags.StringVar(&c.source, "source", c.source, "`directory` of the cluster's Go module (default: found from the working directory)")
	flags.Usage = func() {
		usage(c.stdout)
		fmt.Fprintln(c.stdout, "\nFlags:")
		flags.SetOutput(c.stdout)
		flags.PrintDefaults()
	}
	return flags
}

func parse(flags *flag.FlagSet, args []string) error {
	err := flags.Parse(args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	return fmt.Errorf("%w: %w", err, errUsage)
}

func (c *call) usage(out io.Writer) {
	fmt.Fprint(out, "cluster runs a real Kubernetes cluster of several nodes on this machine (as root).\n\nUsage: cluster [flags] VERB\n\nVerbs:\n")
	for _, v := range verbs() {
		fmt.Fprintf(out, "  %-18s %s\n", strings.TrimSpace(v.name+" "+v.args), v.help)
	}
	fmt.Fprint(out, "\n`cluster VERB -h` shows the flags of a verb.\n")
}

func (v verb) usage(out io.Writer) {
	fmt.Fprintf(out, "Usage: cluster %s\n\n%s\n", strings.TrimSpace(v.name+" [flags] "+v.args), v.help)
}

// cluster parses the flags and opens the cluster. want is the number of arguments, or -1 for at least one.
func (c *call) cluster(flags *flag.FlagSet, args []string, want int) (*lifecycle.Cluster, error) {
	if err := parse(flags, args); err != nil {
		return nil, err
	}
	if got := flags.NArg(); (want < 0 && got == 0) || (want >= 0 && got != want) {
		return nil, fmt.Errorf("%s takes %s, not %d arguments: %w", flags.Name(), arity(want), got, errUsage)
	}
	return lifecycle.New(c.state, progress.New(c.stderr))
}

func arity(want int) string {
	if want < 0 {
		return "at least one"
	}
	return fmt.Sprint(want)
}

// sourceDir is the folder of this module.
func (c *call) sourceDir() (string, error) {
	if c.source != "" {
		return build.FindSource(c.source)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	return build.FindSource(dir)
}

// machineInit is the life of the first process of a machine. It is not for people.
func machineInit(spec, bin string) error {
	s, err := machine.Read(spec)
	if err != nil {
		return err
	}
	const readyDescriptor = 3 // the first of exec.Cmd.ExtraFiles
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	return machine.Init(s, bin, os.NewFile(readyDescriptor, "ready"), log)
}
