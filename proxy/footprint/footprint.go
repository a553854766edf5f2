// SPDX-License-Identifier: Apache-2.0

// Package footprint keeps the sidecar small: there is one in every pod of a
// node. It changes settings of the whole process.
package footprint

import (
	"bufio"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"strings"
)

// Limit sets the collector: growth between collections in percent, and a soft
// limit in bytes; and how many file descriptors there may be. 0 leaves each as it
// is.
func Limit(gcPercent int, memory int64, descriptors int) error {
	if gcPercent > 0 {
		debug.SetGCPercent(gcPercent)
	}
	if memory > 0 {
		debug.SetMemoryLimit(memory)
	}
	if descriptors > 0 {
		return limitDescriptors(uint64(descriptors))
	}
	return nil
}

// span is a range of addresses.
type span struct{ from, to uintptr }

// cleanSpans finds the mappings of a file that can be dropped without loss:
// read-only, and without a page of their own, as relocations leave them. The
// format is that of smaps, proc_pid_smaps(5):
//
//	00400000-00c00000 r-xp 00000000 08:01 42  /usr/local/bin/proxy
//	Anonymous:             0 kB
func cleanSpans(smaps io.Reader, path string) ([]span, error) {
	var out []span
	var current *span
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) >= 5 && strings.Contains(f[0], "-"):
			current = nil
			if len(f) == 6 && f[5] == path && (f[1] == "r-xp" || f[1] == "r--p") {
				s, err := parseSpan(f[0])
				if err != nil {
					return nil, err
				}
				current = &s
			}
		case len(f) == 3 && f[0] == "Anonymous:" && f[1] == "0" && current != nil:
			out = append(out, *current)
		}
	}
	return out, lines.Err()
}

func parseSpan(text string) (span, error) {
	from, to, _ := strings.Cut(text, "-")
	lo, err := strconv.ParseUint(from, 16, 64)
	if err != nil {
		return span{}, fmt.Errorf("parse mapping %q: %w", text, err)
	}
	hi, err := strconv.ParseUint(to, 16, 64)
	if err != nil {
		return span{}, fmt.Errorf("parse mapping %q: %w", text, err)
	}
	if hi < lo {
		return span{}, fmt.Errorf("parse mapping %q: it is reversed", text)
	}
	return span{uintptr(lo), uintptr(hi)}, nil
}
