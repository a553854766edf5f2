// SPDX-License-Identifier: Apache-2.0

package tally

import (
	"slices"
	"time"
)

// Counts is how many calls each server answered.
type Counts map[string]int

// Sum adds the calls of the lines.
func Sum(lines []Line) Counts {
	c := Counts{}
	for _, l := range lines {
		for server, n := range l.Calls {
			c[server] += n
		}
	}
	return c
}

// Total is the number of calls.
func (c Counts) Total() int {
	total := 0
	for _, n := range c {
		total += n
	}
	return total
}

// MaxShare is the part of all calls that the busiest server answered, 0 to 1.
func (c Counts) MaxShare() float64 {
	if c.Total() == 0 {
		return 0
	}
	return float64(c.max()) / float64(c.Total())
}

// MaxOverFair is how many fair shares the busiest server answered when there
// are servers of them: 1 is perfectly even, servers is all on one.
func (c Counts) MaxOverFair(servers int) float64 { return c.MaxShare() * float64(servers) }

// Reached reports whether each of the servers answered at least n calls.
func (c Counts) Reached(servers []string, n int) bool {
	return !slices.ContainsFunc(servers, func(s string) bool { return c[s] < n })
}

func (c Counts) max() int {
	most := 0
	for _, n := range c {
		most = max(most, n)
	}
	return most
}

// Failures returns the failures of the lines, and how many there were with
// those that no line tells in full.
func Failures(lines []Line) (told []Failure, total int) {
	for _, l := range lines {
		told = append(told, l.Failed...)
		total += len(l.Failed) + l.FailedMore
	}
	return told, total
}

const (
	balanceWindow = 500 * time.Millisecond
	balanceShare  = 0.8 // of the fair share
)

// TimeToBalance is the time from a server's readiness to the end of the first
// window of 500 ms in which it answered at least 0.8 of its fair share. Fair is
// one part of all servers that were ready when the window began. ready has the
// times of all servers, by the client's clock. ok is false when no window of
// the lines does.
func TimeToBalance(lines []Line, ready map[string]time.Time, server string) (d time.Duration, ok bool) {
	const steps = int(balanceWindow / Step)
	since := ready[server]
	for i := steps; i <= len(lines); i++ {
		window := lines[i-steps : i]
		end := window[steps-1].End
		counts := Sum(window)
		if !end.After(since) || counts.Total() == 0 {
			continue
		}
		fair := float64(counts.Total()) / float64(readyAt(ready, end.Add(-balanceWindow), server))
		if float64(counts[server]) >= balanceShare*fair {
			return end.Sub(since), true
		}
	}
	return 0, false
}

// readyAt counts the servers that were ready at a time, and server with them.
func readyAt(ready map[string]time.Time, at time.Time, server string) int {
	n := 0
	for s, since := range ready {
		if s == server || !since.After(at) {
			n++
		}
	}
	return n
}

// Grace is how long after a server has said that it exits its sockets may still
// look open: the kernel closes them when the process is torn down, and the news
// has to reach the caller.
const Grace = 100 * time.Millisecond

// Explain splits failures into those of calls that were in flight at a server's
// exit and all others. A call was in flight when it began before the exit (plus
// Grace) and failed after it. callers calls are in flight at most, so no exit
// explains more failures than that.
func Explain(failures []Failure, exits []Exit, callers int) (inFlight, other int) {
	left := make([]int, len(exits))
	for i := range left {
		left[i] = callers
	}
	for _, f := range failures {
		explained := false
		for i, e := range exits {
			if left[i] > 0 && f.Start.Before(e.At.Add(Grace)) && !f.End.Before(e.At) {
				left[i]--
				explained = true
				break
			}
		}
		if explained {
			inFlight++
		} else {
			other++
		}
	}
	return inFlight, other
}
