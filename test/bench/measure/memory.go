// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Memory of a process, in bytes. Kernel memory, such as socket buffers, is in
// none of it.
type Memory struct {
	RSS int64
	// Anonymous is the private part: heap, stacks, written data. The pages of
	// the executable are shared by all sidecars of a node.
	Anonymous int64
}

// MiB is a mebibyte.
const MiB = 1 << 20

// MemoryOf sums over a process and those that it started; pages that they
// share are counted for each.
func MemoryOf(pid int) (Memory, error) {
	tree, err := Tree(pid)
	if err != nil {
		return Memory{}, err
	}
	var sum Memory
	for _, p := range tree {
		m, err := memoryOf(p)
		if err != nil {
			return Memory{}, fmt.Errorf("read memory of process %d: %w", p, err)
		}
		sum.RSS += m.RSS
		sum.Anonymous += m.Anonymous
	}
	return sum, nil
}

func memoryOf(pid int) (Memory, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return Memory{}, err
	}
	defer func() { _ = f.Close() }()
	return ParseRollup(f)
}

// ParseRollup reads a smaps_rollup file, proc_pid_smaps(5).
func ParseRollup(r io.Reader) (Memory, error) {
	var m Memory
	var seen int
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		var to *int64
		switch key {
		case "Rss":
			to = &m.RSS
		case "Anonymous":
			to = &m.Anonymous
		default:
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
		if err != nil {
			return Memory{}, fmt.Errorf("parse smaps_rollup: %w", err)
		}
		*to = kib << 10
		seen++
	}
	if err := lines.Err(); err != nil {
		return Memory{}, err
	}
	if seen != 2 {
		return Memory{}, errors.New("parse smaps_rollup: Rss or Anonymous is missing")
	}
	return m, nil
}
