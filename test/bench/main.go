// SPDX-License-Identifier: Apache-2.0

// Command bench compares the proxy with others on this machine; see the README
// beside it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/shuntmesh/shunt/test/bench/report"
	"github.com/shuntmesh/shunt/test/bench/scenario"
	"github.com/shuntmesh/shunt/test/bench/suite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	suite                  suite.Options
	timeout                time.Duration
	json                   string
	list, check, writeDocs bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s, err := parse(args, stdout, stderr)
	if err != nil {
		return err
	}
	switch {
	case s.list:
		return list(stdout)
	case s.writeDocs:
		r, err := report.Load(s.json)
		if err != nil {
			return err
		}
		return r.WriteDocs(filepath.Join(s.suite.Source, "../../docs"))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("the run took longer than %v (flag -timeout)", s.timeout))
	defer cancel()
	result, err := suite.Run(ctx, s.suite)
	if err != nil {
		return err
	}
	if err := result.Save(s.json); err != nil {
		return err
	}
	result.Write(stdout)
	if result.Broken() {
		return errors.New("something could not be measured; see `not measured` above")
	}
	if missed := result.Missed(); s.check && len(missed) > 0 {
		return fmt.Errorf("goals are missed: %s", strings.Join(missed, " "))
	}
	return nil
}

func parse(args []string, stdout, stderr io.Writer) (*settings, error) {
	s := &settings{suite: suite.Options{Progress: stderr}}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fs.SetOutput(stdout)
		fmt.Fprint(stdout, "Usage: bench [flags]\n\nMeasures the proxy and its peers in turn. The last lines are `FIGURE <name> <value> <unit>`.\n\n")
		fs.PrintDefaults()
	}
	fs.StringVar(&s.suite.Source, "source", ".", "folder of this module")
	fs.StringVar(&s.suite.Cache, "cache", "", "folder that keeps programs (default ${XDG_CACHE_HOME:-$HOME/.cache}/shunt-bench)")
	fs.IntVar(&s.suite.Reps, "reps", 5, "repetitions of each measurement")
	fs.BoolVar(&s.suite.Quick, "quick", false, "one short repetition, to see that everything works; its figures mean nothing")
	fs.BoolVar(&s.check, "check", false, "fail when a goal is missed")
	fs.BoolVar(&s.list, "list", false, "list scenarios, figures and goals")
	fs.BoolVar(&s.writeDocs, "write-docs", false, "write docs/performance.md and its plot from -json, and measure nothing")
	fs.StringVar(&s.json, "json", "", "file of the results (default out/bench.json of the repository, out/bench-partial.json for a part)")
	fs.StringVar(&s.suite.Profile, "profile", "", "file for a CPU profile of ours, over all that is measured")
	fs.DurationVar(&s.timeout, "timeout", 45*time.Minute, "of the whole run")
	pattern(fs, &s.suite.Only, "only", "run scenarios whose name, or a figure's, matches the expression")
	pattern(fs, &s.suite.Targets, "targets", "run targets whose name matches, and the direct way")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q (flags only are allowed)", fs.Arg(0))
	}
	return s, s.complete()
}

func pattern(fs *flag.FlagSet, to **regexp.Regexp, name, usage string) {
	fs.Func(name, usage, func(text string) (err error) {
		*to, err = regexp.Compile(text)
		return err
	})
}

func (s *settings) complete() error {
	if s.suite.Quick {
		s.suite.Reps = 1
	}
	if s.suite.Reps < 1 {
		return fmt.Errorf("flag reps: %d (allowed: 1 or more)", s.suite.Reps)
	}
	if s.json == "" {
		name := "bench.json"
		if s.suite.Quick || s.suite.Only != nil || s.suite.Targets != nil {
			name = "bench-partial.json" // a whole run's results are kept
		}
		s.json = filepath.Join(s.suite.Source, "../../out", name)
		if err := os.MkdirAll(filepath.Dir(s.json), 0o755); err != nil {
			return err
		}
	}
	if s.suite.Cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("find the cache directory: %w (set XDG_CACHE_HOME, or the flag cache)", err)
		}
		s.suite.Cache = filepath.Join(base, "shunt-bench")
	}
	var err error
	s.suite.Cache, err = filepath.Abs(s.suite.Cache)
	return err
}

func list(stdout io.Writer) error {
	for _, s := range scenario.All() {
		fmt.Fprintf(stdout, "%-18s %s: %s\n", s.Name, s.About, strings.Join(s.Targets, ", "))
		for _, f := range scenario.Figures() {
			if f.Scenario == s.Name {
				fmt.Fprintf(stdout, "    %-40s %s %s\n", f.Name, f.Goal, f.Unit)
			}
		}
	}
	return nil
}
