// SPDX-License-Identifier: Apache-2.0

// Package suite runs the table of scenarios: it gets the programs, starts
// backends and targets on the loopback interface, measures, checks that what
// was measured is what was meant, and ends everything.
package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/shuntmesh/shunt/test/bench/certs"
	"github.com/shuntmesh/shunt/test/bench/install"
	"github.com/shuntmesh/shunt/test/bench/load"
	"github.com/shuntmesh/shunt/test/bench/peers"
	"github.com/shuntmesh/shunt/test/bench/process"
	"github.com/shuntmesh/shunt/test/bench/report"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// Options of a run.
type Options struct {
	Source   string         // folder of this module
	Cache    string         // folder that keeps programs
	Reps     int            // of each measurement
	Quick    bool           // shows that everything works; figures mean nothing
	Only     *regexp.Regexp // scenarios, by their name or a figure's
	Targets  *regexp.Regexp
	Profile  string    // file for a CPU profile of ours over all that was measured
	Progress io.Writer // for people
}

// run is one run.
type run struct {
	Options
	setup  peers.Setup
	result *report.Result
}

// Run measures. A target that fails is left out and told of in the result; an
// error means that there is no result.
func Run(ctx context.Context, o Options) (*report.Result, error) {
	release, err := lock(o.Cache)
	if err != nil {
		return nil, err
	}
	defer release()
	dir := filepath.Join(o.Cache, "run") // of a killed run too: the lock is ours
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return nil, fmt.Errorf("make folder of the run: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r := &run{Options: o}
	r.setup = peers.Setup{Tools: map[string]load.Tool{}, Ports: process.NewPorts(), Dir: dir}
	if o.Profile != "" {
		r.setup.Profiles = dir
	}
	if r.setup.Certs, err = certs.Write(dir, time.Now()); err != nil {
		return nil, err
	}
	r.result = &report.Result{
		Date: time.Now(), Kernel: kernel(), CPU: cpuModel(), CPUs: runtime.NumCPU(), Reps: o.Reps, Quick: o.Quick,
	}
	if err := r.install(ctx); err != nil {
		return nil, err
	}
	for _, s := range scenario.All() {
		if r.wanted(s) {
			if err := r.scenario(ctx, s); err != nil {
				return nil, err
			}
		}
	}
	r.result.Judge()
	return r.result, r.mergeProfiles()
}

// lock keeps two runs from measuring one another. The kernel takes it back when
// we are killed.
func lock(cache string) (release func(), err error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, fmt.Errorf("make cache: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w (is another run under way?)", f.Name(), err)
	}
	return func() { _ = f.Close() }, nil
}

// install gets the programs. What can't be had of the peers is told of, and
// their scenarios go without.
func (r *run) install(ctx context.Context) error {
	own, err := install.Build(ctx, r.Source, r.Cache)
	if err != nil {
		return err
	}
	note := func(text string) { r.progress("%s", text) }
	tools, err := install.Debian(ctx, r.Cache, note)
	if err != nil {
		return err
	}
	envoy, err := install.Envoy(ctx, r.Cache, note)
	if err != nil {
		r.left(scenario.Envoy, err.Error(), true)
	} else {
		tools[scenario.Envoy] = envoy
	}
	for name, tool := range own {
		tools[name] = tool
	}
	r.setup.Tools = tools
	r.result.Versions = install.Versions(ctx, tools)
	return nil
}

// wanted tells whether a scenario is to be run.
func (r *run) wanted(s scenario.Scenario) bool {
	match := r.Only == nil || r.Only.MatchString(s.Name)
	for _, f := range scenario.Figures() {
		match = match || f.Scenario == s.Name && r.Only.MatchString(f.Name)
	}
	return match
}

func (r *run) left(what, reason string, broken bool) {
	if broken {
		r.progress("FAILED %s: %s", what, reason)
	}
	r.result.Left = append(r.result.Left, report.Left{What: what, Reason: reason, Broken: broken})
}

func (r *run) progress(format string, args ...any) {
	fmt.Fprintf(r.Progress, "%s %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// targets of a scenario that this run is about. The direct way is always one,
// since added latency is measured against it.
func (r *run) targets(s scenario.Scenario) []string {
	var out []string
	for _, t := range s.Targets {
		if _, there := r.setup.Tools[t]; !there && t == scenario.Envoy {
			continue
		}
		if r.Targets == nil || t == scenario.Direct || r.Targets.MatchString(t) {
			out = append(out, t)
		}
	}
	return out
}

func kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
