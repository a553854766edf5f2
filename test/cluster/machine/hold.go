// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/shuntmesh/shunt/test/cluster/layout"
)

// Hold has the machine's first process kill a daemon, as a crash would, and keep it down until it is released. It returns when
// the daemon is gone.
func Hold(ctx context.Context, state layout.State, name, daemon string) error {
	if err := known(state, name, daemon); err != nil {
		return err
	}
	if err := os.MkdirAll(heldDir(state, name), 0o755); err != nil {
		return fmt.Errorf("hold %s of %s: %w", daemon, name, err)
	}
	if err := os.WriteFile(heldFile(state, name, daemon), nil, 0o644); err != nil {
		return fmt.Errorf("hold %s of %s: %w", daemon, name, err)
	}
	return awaitService(ctx, state, name, daemon, false)
}

// Release has a daemon that was held started again, and returns when its process runs. One that was not held is no error.
func Release(ctx context.Context, state layout.State, name, daemon string) error {
	if err := known(state, name, daemon); err != nil {
		return err
	}
	if err := os.Remove(heldFile(state, name, daemon)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("release %s of %s: %w", daemon, name, err)
	}
	return awaitService(ctx, state, name, daemon, true)
}

// ReleaseAll forgets what was held on a machine that is down.
func ReleaseAll(state layout.State, name string) error {
	if err := os.RemoveAll(heldDir(state, name)); err != nil {
		return fmt.Errorf("release the daemons of %s: %w", name, err)
	}
	return nil
}

func heldDir(state layout.State, name string) string { return state.Path(name, "held") }

func heldFile(state layout.State, name, daemon string) string {
	return state.Path(name, "held", daemon)
}

// known says which daemons there are, for a name that is none.
func known(state layout.State, name, daemon string) error {
	spec, err := Read(state.Spec(name))
	if err != nil {
		return err
	}
	var names []string
	for _, service := range spec.Services {
		names = append(names, service.Name)
	}
	if !slices.Contains(names, daemon) {
		return fmt.Errorf("find daemon %q of %s: there are %s", daemon, name, strings.Join(names, ", "))
	}
	return nil
}

func awaitService(ctx context.Context, state layout.State, name, daemon string, running bool) error {
	for {
		if _, err := Find(state, name); err != nil {
			return err
		}
		all, err := Services(state, name)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(all, func(s ServiceStatus) bool { return s.Name == daemon && s.Running == running }) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s of %s: %w", daemon, name, context.Cause(ctx))
		case <-time.After(pollInterval):
		}
	}
}

// held reports whether a service must not run.
func (f *first) held(service Service) bool {
	_, err := os.Stat(heldFile(f.spec.State, f.spec.Name, service.Name))
	return err == nil
}

// killHeld kills what runs and must not; reap finds it afterwards.
func (f *first) killHeld() {
	for pid, i := range f.running {
		service := f.spec.Services[i]
		if !f.held(service) {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			f.log.Error("kill a held service", "service", service.Name, "pid", pid, "error", err)
		}
	}
}
