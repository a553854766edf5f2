// SPDX-License-Identifier: Apache-2.0

// Package peers starts what is measured: other proxies with the configurations
// in config/, and ours. Each gets one worker or thread.
package peers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/shuntmesh/shunt/test/bench/certs"
	"github.com/shuntmesh/shunt/test/bench/load"
	"github.com/shuntmesh/shunt/test/bench/measure"
	"github.com/shuntmesh/shunt/test/bench/process"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// Setup is what starting needs: the programs by name, and where to work.
type Setup struct {
	Tools map[string]load.Tool
	Ports *process.Ports
	Dir   string // for configurations and logs
	// Profiles is a folder for CPU profiles of ours; "" takes none.
	Profiles string
	Certs    certs.Files
}

// Ask says what a target is to do.
type Ask struct {
	Protocol scenario.Protocol
	TLS      scenario.TLS
	Backends []netip.AddrPort
	// Discovery is asked by ours instead of a table, when it is set.
	Discovery Discovery

	largeBuffers bool
}

// Discovery says where the product's discovery is, and what connections ask for.
type Discovery struct {
	Address string
	CAFile  string
	VIPs    string
}

// Target is a running proxy, or the direct way.
type Target struct {
	Name      string
	Aim       load.Aim
	Processes []*process.Process // whose cost is counted
	// Metrics is where ours exposes its counters; "" for peers.
	Metrics string
}

// Start runs a target and waits until it accepts connections.
func (s Setup) Start(ctx context.Context, name string, a Ask) (*Target, error) {
	t := &Target{Name: name}
	var err error
	switch name {
	case scenario.Direct:
		t.Aim = load.Aim{Address: a.Backends[0]}
	case scenario.HAProxy, scenario.Nginx, scenario.Envoy:
		err = s.foreign(ctx, t, name, a)
	case scenario.HAProxy64k:
		a.largeBuffers = true
		err = s.foreign(ctx, t, scenario.HAProxy, a)
	case scenario.Nginx64k:
		a.largeBuffers = true
		err = s.foreign(ctx, t, scenario.Nginx, a)
	case scenario.GRPCGo, scenario.ReverseProxy:
		err = s.gateway(ctx, t, a)
	case scenario.ShuntPlain:
		a.TLS = scenario.Plain
		err = s.chain(ctx, t, a)
	case scenario.Shunt:
		if a.TLS == scenario.Mesh {
			err = s.chain(ctx, t, a)
		} else {
			err = s.shunt(ctx, t, a)
		}
	default:
		err = errors.New("no such target")
	}
	if err != nil {
		_ = t.Stop() // of what did start; err says why the rest did not
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return t, nil
}

// run starts one process of a target, and waits until it listens.
func (s Setup) run(ctx context.Context, t *Target, ready netip.AddrPort, spec process.Spec) error {
	spec.Log = filepath.Join(s.Dir, fmt.Sprintf("%s-%d.log", spec.Name, ready.Port()))
	tool, ok := s.Tools[spec.Name]
	if !ok {
		return fmt.Errorf("program %s is not installed", spec.Name)
	}
	spec.Path, spec.Env = tool.Path, append(spec.Env, tool.Env...)
	p, err := process.Start(spec)
	if err != nil {
		return err
	}
	t.Processes = append(t.Processes, p)
	return p.Listens(ctx, ready)
}

// CPU is what its processes have used.
func (t *Target) CPU() (time.Duration, error) {
	var sum time.Duration
	for _, p := range t.Processes {
		if err := p.Alive(); err != nil {
			return 0, err
		}
		d, err := measure.CPU(p.PID())
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// Memory is what its processes take now.
func (t *Target) Memory() (measure.Memory, error) {
	var sum measure.Memory
	for _, p := range t.Processes {
		if err := p.Alive(); err != nil {
			return sum, err
		}
		m, err := measure.MemoryOf(p.PID())
		if err != nil {
			return sum, err
		}
		sum.RSS += m.RSS
		sum.Anonymous += m.Anonymous
	}
	return sum, nil
}

// Stop ends all its processes. It may be called again.
func (t *Target) Stop() error {
	err := process.StopAll(t.Processes)
	t.Processes = nil
	return err
}

// one is the environment of Go programs: one thread runs Go code.
func one() []string { return []string{"GOMAXPROCS=1"} }

func write(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}
