// SPDX-License-Identifier: Apache-2.0

package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect"
)

// maxOutput bounds what is read of a program: a namespace with more rules than
// this is none of a pod.
const maxOutput = 32 << 20 // bytes

// runner starts programs that hold the lock on the namespace with us, where we
// have it: a restore that is killed may still be in the midst of its commit.
type runner struct {
	lock *os.File
}

// surveyed is a variant and what it holds.
type surveyed struct {
	runner  runner
	toolset toolset
	dumps   map[redirect.Family]dump
}

// survey reads all tables that exist. Naming a table would make it.
func (s toolset) survey(ctx context.Context, r runner) (surveyed, error) {
	// Without it the legacy variant lists nothing, and says nothing of it.
	if _, err := os.Stat("/proc/thread-self/net"); err != nil {
		return surveyed{}, fmt.Errorf("find the tables of %v: %w (/proc must be mounted)", s.variant, err)
	}
	out := surveyed{r, s, make(map[redirect.Family]dump)}
	for f, t := range s.tools {
		text, err := r.run(ctx, "", t.save)
		if err != nil {
			return surveyed{}, err
		}
		if out.dumps[f], err = parseDump(text); err != nil {
			return surveyed{}, fmt.Errorf("read %s: %w", filepath.Base(t.save), err)
		}
	}
	return out, nil
}

func (s surveyed) holdsOurs() bool {
	for _, d := range s.dumps {
		if d.holdsOurs() {
			return true
		}
	}
	return false
}

func (s surveyed) inUse() bool {
	for _, d := range s.dumps {
		if d.inUse() {
			return true
		}
	}
	return false
}

// write makes the variant hold what is wanted.
func (s surveyed) write(ctx context.Context, want wanted) (changed bool, err error) {
	for _, f := range families() {
		t, ok := s.toolset.tools[f]
		if !ok || compare(f, s.dumps[f], want.of(f), t.exists) == nil {
			continue
		}
		args := []string{"--noflush"}
		if t.waits() {
			args = append(args, "-w", strconv.Itoa(waitSeconds))
		}
		if _, err := s.runner.run(ctx, restoreText(s.dumps[f], want.of(f)), t.restore, args...); err != nil {
			return changed, err
		}
		changed = true
		if err := s.dropEmptyHooks(ctx, t, want.of(f)); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// dropEmptyHooks takes away the built-in chains that our rules were the only
// reason for: in nf_tables each costs every packet a call. A refusal is fine:
// somebody uses the chain again, or iptables is older than 1.8.3. The legacy
// variant can't at all.
func (s surveyed) dropEmptyHooks(ctx context.Context, t tool, want family) error {
	if s.toolset.variant != NFT {
		return nil
	}
	text, err := s.runner.run(ctx, "", t.save)
	if err != nil {
		return err
	}
	now, err := parseDump(text)
	if err != nil {
		return err
	}
	for _, hook := range emptyHooks(s.dumps[t.family], now, want) {
		_, _ = s.runner.run(ctx, "", t.program, "-t", hook.table, "-X", hook.chain)
	}
	return nil
}

// run starts a program in the namespace of the calling thread.
func (r runner) run(ctx context.Context, stdin, path string, args ...string) (stdout string, err error) {
	var out, errOut bounded
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.Env = environment()
	if r.lock != nil {
		cmd.ExtraFiles = []*os.File{r.lock}
	}
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("run %s: %w", filepath.Base(path), explain(err, strings.TrimSpace(errOut.String())))
	}
	return out.String(), nil
}

// environment gives the legacy variant's lock a place where /run can't be
// written to. It then guards nothing; our own lock does.
func environment() []string {
	env := os.Environ()
	if unix.Access("/run", unix.W_OK) != nil {
		env = append(env, "XTABLES_LOCKFILE="+os.DevNull)
	}
	return env
}

// explain adds what the program said, and what a person can do about it.
func explain(err error, said string) error {
	first, _, _ := strings.Cut(said, "\n")
	switch {
	case errors.Is(err, fs.ErrPermission), strings.Contains(said, "Permission denied"), strings.Contains(said, "Operation not permitted"):
		return fmt.Errorf("%w: %s (CAP_NET_ADMIN and CAP_NET_RAW are needed in the pod's network namespace)", err, first)
	case said == "":
		return err
	default:
		return fmt.Errorf("%w: %s: %w", err, first, errors.ErrUnsupported)
	}
}

// bounded is a buffer that refuses more than maxOutput.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxOutput {
		return 0, fmt.Errorf("read output: more than %d bytes", maxOutput)
	}
	return b.Buffer.Write(p)
}
