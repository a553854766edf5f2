// SPDX-License-Identifier: Apache-2.0

// Package progress tells a human what a long run is doing: one line a step, with the time that it took. On a terminal the
// running step's clock ticks; elsewhere each step is two plain lines. It writes to the writer it is given and nothing else.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Printer prints steps. Steps may run side by side: then each is printed when it begins and when it ends.
type Printer struct {
	out      io.Writer
	terminal bool

	mu sync.Mutex
}

// New returns a printer that writes to out; it redraws lines if out is a terminal.
func New(out io.Writer) *Printer {
	return &Printer{out: out, terminal: isTerminal(out)}
}

// Quiet returns a printer that prints nothing.
func Quiet() *Printer { return &Printer{out: io.Discard} }

// Note prints one line.
func (p *Printer) Note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "    "+format+"\n", args...)
}

// Step runs f and prints the title with the time that f took.
func (p *Printer) Step(title string, f func() error) error {
	began := time.Now()
	stop := p.begin(title, began)
	err := f()
	stop()
	mark := "  ok"
	if err != nil {
		mark = "fail"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(p.out, "%s %-46s %6.1f s\n", mark, title, time.Since(began).Seconds())
	return err
}

// begin announces a step and, on a terminal, redraws its clock until stop is called.
func (p *Printer) begin(title string, began time.Time) (stop func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.terminal {
		fmt.Fprintf(p.out, "  .. %s\n", title)
		return func() {}
	}
	done := make(chan struct{})
	var joined sync.WaitGroup
	joined.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				p.redraw(title, began)
			}
		}
	})
	return func() { close(done); joined.Wait() }
}

func (p *Printer) redraw(title string, began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(p.out, "  .. %-46s %6.1f s", title, time.Since(began).Seconds())
}

// clear empties the terminal's line; elsewhere lines are never redrawn.
func (p *Printer) clear() {
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[2K")
	}
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
