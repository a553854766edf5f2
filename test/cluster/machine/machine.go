// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/shuntmesh/shunt/test/cluster/command"
	"github.com/shuntmesh/shunt/test/cluster/layout"
)

// Process is a process that can't be mistaken for a later one with the same number.
type Process struct {
	PID int `json:"pid"`
	// Started is the start time since boot in clock ticks: field 22 of /proc/<pid>/stat, proc(5).
	Started uint64 `json:"started"`
}

// InitVerb is the hidden verb by which this program runs as the first process of a machine.
const InitVerb = "machine-init"

// Start starts the machine's first process, detached, and returns when its mounts are made. The machine's network namespace
// and cgroups must be there.
func Start(ctx context.Context, spec Spec, bin string) error {
	if err := spec.Write(); err != nil {
		return err
	}
	log, err := os.OpenFile(spec.State.Log(spec.Name, "init"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start machine %s: %w", spec.Name, err)
	}
	defer log.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start machine %s: %w", spec.Name, err)
	}
	defer read.Close()
	// Not bound to ctx: the machine outlives this command.
	cmd := exec.Command("nsenter", "--net="+layout.NetNSPath(spec.Name), "--",
		spec.State.Self(), InitVerb, spec.State.Spec(spec.Name), bin)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = "/", log, log, []*os.File{write}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS,
	}
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		return fmt.Errorf("start machine %s: %w", spec.Name, err)
	}
	if err := remember(spec, cmd.Process.Pid); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	if err := awaitReady(ctx, read); err != nil {
		return fmt.Errorf("start machine %s: %w%s", spec.Name, err, command.TailFile(log.Name()))
	}
	return cmd.Process.Release()
}

// awaitReady waits until the first process closes its end of the pipe, or says what went wrong.
func awaitReady(ctx context.Context, pipe *os.File) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := pipe.SetReadDeadline(deadline); err != nil {
			return err
		}
	}
	said, err := io.ReadAll(pipe)
	if err != nil {
		return err
	}
	if len(said) > 0 {
		return errors.New(string(said))
	}
	return nil
}

func remember(spec Spec, pid int) error {
	started, err := startTime(pid)
	if err != nil {
		return fmt.Errorf("remember machine %s: %w", spec.Name, err)
	}
	text, err := json.Marshal(Process{PID: pid, Started: started})
	if err != nil {
		return fmt.Errorf("remember machine %s: %w", spec.Name, err)
	}
	path := pidFile(spec.State, spec.Name)
	if err := os.WriteFile(path+".half", text, 0o644); err != nil {
		return fmt.Errorf("remember machine %s: %w", spec.Name, err)
	}
	if err := os.Rename(path+".half", path); err != nil {
		return fmt.Errorf("remember machine %s: %w", spec.Name, err)
	}
	return nil
}

func pidFile(state layout.State, name string) string { return state.Path(name, "init.pid") }

// ErrDown is returned for a machine whose first process doesn't run.
var ErrDown = errors.New("machine is down")

// Find returns the first process of a machine, or an error that wraps [ErrDown].
func Find(state layout.State, name string) (Process, error) {
	text, err := os.ReadFile(pidFile(state, name))
	if errors.Is(err, os.ErrNotExist) {
		return Process{}, fmt.Errorf("find machine %s: %w", name, ErrDown)
	}
	if err != nil {
		return Process{}, fmt.Errorf("find machine %s: %w", name, err)
	}
	var p Process
	if err := json.Unmarshal(text, &p); err != nil {
		return Process{}, fmt.Errorf("read %s: %w", pidFile(state, name), err)
	}
	if started, err := startTime(p.PID); err != nil || started != p.Started {
		return Process{}, fmt.Errorf("find machine %s: %w", name, ErrDown)
	}
	return p, nil
}

// Kill kills the machine's first process; the kernel kills all others of its process namespace with it. It returns when the
// first process is gone. A machine that is down is no error.
func Kill(ctx context.Context, state layout.State, name string) error {
	p, err := Find(state, name)
	if errors.Is(err, ErrDown) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill machine %s: %w", name, err)
	}
	for ctx.Err() == nil {
		if _, err := Find(state, name); errors.Is(err, ErrDown) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("kill machine %s: %w", name, context.Cause(ctx))
}

// Enter returns the arguments that run a program inside a machine.
func (p Process) Enter(args ...string) []string {
	return append([]string{"nsenter", "--target", strconv.Itoa(p.PID), "--mount", "--net", "--pid", "--uts", "--"}, args...)
}

// startTime reads field 22 of /proc/<pid>/stat. A dead process that nobody has reaped counts as gone.
func startTime(pid int) (uint64, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	return parseStat(string(text))
}

// parseStat skips the program's name, which may hold anything, up to its last parenthesis.
func parseStat(text string) (uint64, error) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return 0, fmt.Errorf("read a process's state %q: too short", text)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return 0, os.ErrProcessDone
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
