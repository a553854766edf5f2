// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// CPU is the time that a process and those that it started have run. It is
// summed over threads, to the nanosecond: /proc/PID/stat counts in ticks of
// 10 ms, which short runs can't be told apart by. Threads that have ended are
// not in it; none of the proxies here ends threads under load.
func CPU(pid int) (time.Duration, error) {
	tree, err := Tree(pid)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, p := range tree {
		d, err := cpuOf(p)
		if err != nil {
			return 0, fmt.Errorf("read CPU of process %d: %w", p, err)
		}
		sum += d
	}
	return sum, nil
}

func cpuOf(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	if len(files) == 0 {
		return 0, errors.New("no thread is left (has it ended?)")
	}
	var sum time.Duration
	for _, f := range files {
		text, err := os.ReadFile(f)
		if gone(err) {
			continue
		}
		if err != nil {
			return 0, err
		}
		d, err := ParseSchedstat(string(text))
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// ParseSchedstat reads the first of the three numbers of a schedstat file: the
// nanoseconds on a CPU (Documentation/scheduler/sched-stats of Linux).
func ParseSchedstat(text string) (time.Duration, error) {
	f := strings.Fields(text)
	if len(f) != 3 {
		return 0, fmt.Errorf("parse schedstat %q: %d fields, want 3", text, len(f))
	}
	ns, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil || ns < 0 {
		return 0, fmt.Errorf("parse schedstat %q: %q is no time", text, f[0])
	}
	return time.Duration(ns), nil
}

// Tree lists a process and all that descend from it.
func Tree(pid int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		child, parent, err := parseStat(string(text))
		if err != nil {
			return nil, err
		}
		children[parent] = append(children[parent], child)
	}
	tree := []int{pid}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i]]...)
	}
	return tree, nil
}

// parseStat reads pid and ppid. The name between them may contain anything,
// parentheses too: proc_pid_stat(5).
func parseStat(text string) (pid, parent int, err error) {
	end := strings.LastIndexByte(text, ')')
	before, _, _ := strings.Cut(text, " ")
	if end < 0 {
		return 0, 0, fmt.Errorf("parse stat %q: no name", text)
	}
	after := strings.Fields(text[end+1:])
	if len(after) < 2 {
		return 0, 0, fmt.Errorf("parse stat %q: too short", text)
	}
	if pid, err = strconv.Atoi(before); err != nil {
		return 0, 0, fmt.Errorf("parse stat %q: %w", text, err)
	}
	if parent, err = strconv.Atoi(after[1]); err != nil {
		return 0, 0, fmt.Errorf("parse stat %q: %w", text, err)
	}
	return pid, parent, nil
}

// gone tells of a process or thread that ended between listing and reading.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}
