// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/shuntmesh/shunt/test/demo/tally"
)

// maxLogLine bounds one line of a pod's log: a tally.Line with all its failures
// is some 64 KiB.
const maxLogLine = 1 << 20

// feed collects what a client writes.
type feed struct {
	seen func(tally.Line) // called for each new line, in order

	mu      sync.Mutex
	lines   []tally.Line
	lag     time.Duration // least time from a line's end to its arrival here
	changed chan struct{} // closed at the next line
}

func newFeed(seen func(tally.Line)) *feed {
	return &feed{seen: seen, changed: make(chan struct{})}
}

// add takes a line that arrived now. Lines seen before are dropped: a log that
// is followed again starts over.
func (f *feed) add(l tally.Line, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.lines); n > 0 && l.Seq <= f.lines[n-1].Seq {
		return
	}
	if lag := now.Sub(l.End); len(f.lines) == 0 || lag < f.lag {
		f.lag = lag
	}
	f.lines = append(f.lines, l)
	f.seen(l)
	close(f.changed)
	f.changed = make(chan struct{})
}

// mark is the number of lines up to now: where a window begins.
func (f *feed) mark() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.lines)
}

// since returns the lines from a mark, and closes changed when there are more.
func (f *feed) since(mark int) (lines []tally.Line, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lines[mark:len(f.lines):len(f.lines)], f.changed
}

// clock translates times of ours into the client's. The least lag holds the
// difference of the clocks and the way of a line to us, so a time comes out too
// early rather than too late, and what is measured from it too long.
func (f *feed) clock(ours map[string]time.Time) map[string]time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	theirs := map[string]time.Time{}
	for k, t := range ours {
		theirs[k] = t.Add(-f.lag)
	}
	return theirs
}

// wait returns the lines from a mark as soon as enough says so.
func (f *feed) wait(ctx context.Context, mark int, enough func([]tally.Line) bool) ([]tally.Line, error) {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	for {
		lines, changed := f.since(mark)
		if enough(lines) {
			return lines, nil
		}
		select {
		case <-ctx.Done():
			told, failed := tally.Failures(lines)
			return nil, fmt.Errorf("wait for calls of the client: %w (%d lines, answered %v, %d failed%s)",
				context.Cause(ctx), len(lines), tally.Sum(lines), failed, firstFailures(told, 1))
		case <-changed:
		}
	}
}

// follow reads the log of the client until ctx is done.
func (f *feed) follow(ctx context.Context, c cluster, pod string) error {
	for {
		err := followLog(ctx, c, pod, "client", func(text []byte) error {
			l, err := tally.ParseLine(text)
			if err != nil {
				return err
			}
			f.add(l, time.Now())
			return nil
		})
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
		if parse := (lineError{}); errors.As(err, &parse) {
			return err
		}
	}
}

// lineError is an error of who read a line, not of the stream.
type lineError struct{ error }

// Unwrap gives the reason.
func (e lineError) Unwrap() error { return e.error }

// followLog hands each line of a container's log to read until the log ends.
func followLog(ctx context.Context, c cluster, pod, container string, read func([]byte) error) error {
	stream, err := c.pod.log(ctx, c.ns, pod, container)
	if err != nil {
		return fmt.Errorf("follow log of pod %s: %w", pod, err)
	}
	defer func() { _ = stream.Close() }() // only read from
	return readLines(stream, read)
}

func readLines(r io.Reader, read func([]byte) error) error {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxLogLine)
	for scanner.Scan() {
		if bytes.HasPrefix(scanner.Bytes(), []byte(kubeletsLastWords)) {
			return nil
		}
		if err := read(scanner.Bytes()); err != nil {
			return lineError{err}
		}
	}
	return scanner.Err()
}

// kubeletsLastWords begin the line that the kubelet puts into the stream in
// place of the log of a container that is gone.
const kubeletsLastWords = "unable to retrieve container logs"
