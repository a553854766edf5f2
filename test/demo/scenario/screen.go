// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shuntmesh/shunt/test/demo/tally"
)

// screen shows the calls per pod while they happen: a table that is drawn again
// in place on a terminal, a line now and then elsewhere.
type screen struct {
	out      io.Writer
	terminal bool

	mu     sync.Mutex
	title  string
	counts tally.Counts // since the title
	failed int
	drawn  int // lines of the table on the terminal
	last   time.Time
}

const (
	redrawEvery = 250 * time.Millisecond
	plainEvery  = 2 * time.Second
	barWidth    = 40
)

// say prints a line that stays.
func (s *screen) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
	fmt.Fprintf(s.out, format+"\n", args...)
}

// begin starts a table.
func (s *screen) begin(title string, pods []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
	s.title, s.counts, s.failed, s.last = title, tally.Counts{}, 0, time.Now()
	for _, p := range pods {
		s.counts[p] = 0
	}
}

// line adds what the client says to the table.
func (s *screen) line(l tally.Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.title == "" {
		return
	}
	for pod, n := range l.Calls {
		s.counts[pod] += n
	}
	s.failed += len(l.Failed) + l.FailedMore
	every := plainEvery
	if s.terminal {
		every = redrawEvery
	}
	if time.Since(s.last) < every {
		return
	}
	s.last = time.Now()
	if !s.terminal {
		fmt.Fprintf(s.out, "  %s: %s\n", s.title, plain(s.counts, s.failed))
		return
	}
	s.wipe()
	text := table(s.title, s.counts, s.failed)
	fmt.Fprint(s.out, text)
	s.drawn = strings.Count(text, "\n")
}

// end prints the table of the counts for good.
func (s *screen) end(counts tally.Counts, failed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
	fmt.Fprint(s.out, table(s.title, counts, failed))
	s.title = ""
}

// wipe removes the table that is drawn (ECMA-48: cursor up, erase below).
func (s *screen) wipe() {
	if s.drawn > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA\x1b[J", s.drawn)
	}
	s.drawn = 0
}

// table draws one row a pod.
func table(title string, counts tally.Counts, failed int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %s\n", title)
	width := len("POD")
	for pod := range counts {
		width = max(width, len(pod))
	}
	fmt.Fprintf(&b, "    %-*s %9s %7s\n", width, "POD", "CALLS", "SHARE")
	total := max(counts.Total(), 1)
	for _, pod := range slices.Sorted(maps.Keys(counts)) {
		share := float64(counts[pod]) / float64(total)
		bar := strings.Repeat("#", int(share*barWidth+0.5))
		fmt.Fprintf(&b, "    %-*s %9d %6.1f%% %s\n", width, pod, counts[pod], 100*share, bar)
	}
	if failed > 0 {
		fmt.Fprintf(&b, "    %d calls failed\n", failed)
	}
	return b.String()
}

// plain is the table in one line.
func plain(counts tally.Counts, failed int) string {
	var parts []string
	for _, pod := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", pod, counts[pod]))
	}
	return strings.Join(append(parts, fmt.Sprintf("failed %d", failed)), "  ")
}

// firstFailures names some failures for people, "" when there are none.
func firstFailures(told []tally.Failure, n int) string {
	var b strings.Builder
	for _, f := range told[:min(n, len(told))] {
		fmt.Fprintf(&b, "\n    %s after %s: %s: %s", f.End.Format("15:04:05.000"), f.End.Sub(f.Start).Round(time.Millisecond), f.Code, f.Message)
	}
	return b.String()
}
