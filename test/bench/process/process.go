// SPDX-License-Identifier: Apache-2.0

// Package process starts programs and ends them: each by its id, each joined.
// Should this process be killed, the kernel ends them (PR_SET_PDEATHSIG).
package process

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/shuntmesh/shunt/test/bench/measure"
)

// Spec says what to start.
type Spec struct {
	Name string
	Path string
	Args []string
	Env  []string // beside our own
	Log  string   // file that gets what it prints
}

// Process is a started program.
type Process struct {
	Name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how; valid after done
}

// patience is how long a program may take to end after SIGTERM.
const patience = 5 * time.Second

// Start runs a program in the background. Stop must follow.
func Start(s Spec) (*Process, error) {
	log, err := os.Create(s.Log)
	if err != nil {
		return nil, fmt.Errorf("make log of %s: %w", s.Name, err)
	}
	defer func() { _ = log.Close() }() // the program has its own descriptor
	cmd := exec.Command(s.Path, s.Args...)
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own, so that Ctrl-C reaches us alone and we end it in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	p := &Process{Name: s.Name, log: s.Log, cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID is its id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Alive returns an error with the end of the log when it has ended.
func (p *Process) Alive() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended (%v): %s", p.Name, p.cmd.ProcessState, p.LogTail())
	default:
		return nil
	}
}

// Stop ends it and what it started, and joins it. It returns an error when it
// had ended before, or had to be killed.
func (p *Process) Stop() error {
	if err := p.Alive(); err != nil {
		return err
	}
	tree, _ := measure.Tree(p.PID())
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
	}
	for _, pid := range tree {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-p.done
	return fmt.Errorf("%s did not end within %v of SIGTERM and was killed: %s", p.Name, patience, p.LogTail())
}

// StopAll stops in reverse order.
func StopAll(all []*Process) error {
	var errs []error
	for i := len(all) - 1; i >= 0; i-- {
		errs = append(errs, all[i].Stop())
	}
	return errors.Join(errs...)
}

// LogTail is the end of what it printed.
func (p *Process) LogTail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return tail(string(b))
}

// Listens waits until somebody listens on the address, at most 15 s. It does not
// connect: to some programs that is the beginning of a test.
func (p *Process) Listens(ctx context.Context, ap netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		table, err := os.ReadFile("/proc/self/net/tcp")
		if err != nil {
			return fmt.Errorf("wait for %s: %w", p.Name, err)
		}
		if listening(string(table), ap) {
			return nil
		}
		if err := p.Alive(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to listen on %v: %w: %s", p.Name, ap, context.Cause(ctx), p.LogTail())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// listening looks for an IPv4 address in a table of sockets, proc_pid_net(5):
// the address as the kernel's integer, the port in hexadecimal, and the state,
// which is 0A for those that listen.
func listening(table string, ap netip.AddrPort) bool {
	four := ap.Addr().As4()
	local := fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(four[:]), ap.Port())
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 3 && f[1] == local && f[3] == "0A" {
			return true
		}
	}
	return false
}

// Output runs a program to its end, at most limit, and returns what it printed.
func Output(ctx context.Context, limit time.Duration, s Spec) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.Path, s.Args...)
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.WaitDelay = time.Second
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out // one goroutine writes: see exec.Cmd
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("run %s %s: %w: %s", s.Name, strings.Join(s.Args, " "), err, tail(out.String()))
	}
	return out.String(), nil
}

// tail is enough of an output to see why a program has failed.
func tail(text string) string {
	const most = 2000
	if text = strings.TrimSpace(text); len(text) > most {
		text = text[len(text)-most:]
	}
	return text
}
