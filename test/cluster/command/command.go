// SPDX-License-Identifier: Apache-2.0

// Package command runs other programs to their end. A failure carries the command line and the last lines of what it printed.
package command

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// tailLines is how much of a program's output, or of a log, an error shows.
const tailLines = 12

// Command is one program to run.
type Command struct {
	Args  []string
	Dir   string
	Env   []string // added to the environment of this process
	Input io.Reader
}

// Run runs the arguments and returns what they printed on the standard output.
func Run(ctx context.Context, args ...string) (string, error) {
	return Command{Args: args}.Run(ctx)
}

// Run runs the command and returns what it printed on the standard output. When ctx ends the program is killed, and with it
// what it has started.
func (c Command) Run(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdin = c.Input
	cmd.WaitDelay = 2 * time.Second
	// The go command has compilers run for it; they have to end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var stdout bytes.Buffer
	both := &shared{}
	cmd.Stdout = io.MultiWriter(&stdout, both)
	cmd.Stderr = both
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return stdout.String(), fmt.Errorf("run %s: %w%s", strings.Join(c.Args, " "), err, Tail(both.text.Bytes()))
	}
	return stdout.String(), nil
}

// shared takes what a program writes on both outputs, which two goroutines copy.
type shared struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// Tail returns the last lines of text, indented on lines of their own, or nothing.
func Tail(text []byte) string {
	trimmed := strings.TrimSpace(string(text))
	if trimmed == "" {
		return ""
	}
	lines := strings.Split(trimmed, "\n")
	lines = lines[max(0, len(lines)-tailLines):]
	return "\n    " + strings.Join(lines, "\n    ")
}

// TailFile returns the name and the last lines of a log file.
func TailFile(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Sprintf("\n%s: %v", path, err)
	}
	return fmt.Sprintf("\n%s ends with:%s", path, Tail(text))
}
