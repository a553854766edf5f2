// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// applierEnv makes the test binary a process that applies a job, since one that
// is killed in the midst of it can't be the test itself.
const applierEnv = "SHUNT_CONFORMANCE_APPLY"

// job is what an applier is to do.
type job struct {
	Subject string
	Config  redirect.Config
}

// applier is a process of its own, in a process group of its own, that is ready
// to apply.
type applier struct {
	cmd    *exec.Cmd
	begin  io.Writer
	stderr *bytes.Buffer
}

// newApplier starts one and returns when it has nothing left to do but to apply.
func newApplier(t *testing.T, ns *testnet.Namespace, s subject, c redirect.Config) *applier {
	t.Helper()
	self, exeErr := os.Executable()
	text, jsonErr := json.Marshal(job{s.name, c})
	if err := errors.Join(exeErr, jsonErr); err != nil {
		t.Fatal(err)
	}
	a := &applier{cmd: exec.Command(self), stderr: new(bytes.Buffer)}
	a.cmd.Env = append(os.Environ(), applierEnv+"="+string(text))
	a.cmd.Stderr = a.stderr
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, inErr := a.cmd.StdinPipe()
	stdout, outErr := a.cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		t.Fatal(err)
	}
	a.begin = stdin
	ns.Do(t, a.cmd.Start)
	if _, err := io.ReadFull(stdout, make([]byte, 1)); err != nil {
		t.Fatalf("applier: %v: %v: %s", err, a.cmd.Wait(), a.stderr)
	}
	return a
}

// start has it apply.
func (a *applier) start() error {
	_, err := a.begin.Write([]byte{1})
	return err
}

// wait returns the error of Apply.
func (a *applier) wait() error {
	if err := a.cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, a.stderr)
	}
	return nil
}

// kill ends the whole group and reports whether that came before it was done.
func (a *applier) kill() (interrupted bool, err error) {
	if err := syscall.Kill(-a.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return false, fmt.Errorf("kill applier: %w", err)
	}
	err = a.cmd.Wait()
	status, ok := a.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w: %s", err, a.stderr)
	}
	return false, nil
}

// applyTime is how long an applier takes from its start to its end.
func applyTime(t *testing.T, ns *testnet.Namespace, s subject, prepare func(), c redirect.Config) time.Duration {
	t.Helper()
	var took []time.Duration
	for range 3 {
		prepare()
		a := newApplier(t, ns, s, c)
		begin := time.Now()
		if err := errors.Join(a.start(), a.wait()); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	return took[1]
}

// applierMain is the applier's side.
func applierMain(text string) int {
	if err := applierRun(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func applierRun(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	p, err := redirect.NewPlan(j.Config)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(subjects(), func(s subject) bool { return s.name == j.Subject })
	if i < 0 {
		return fmt.Errorf("no backend %q", j.Subject)
	}
	if _, err := os.Stdout.Write([]byte{1}); err != nil {
		return err
	}
	if _, err := io.ReadFull(os.Stdin, make([]byte, 1)); err != nil {
		return err
	}
	_, err = subjects()[i].backend.Apply(context.Background(), p)
	return err
}
