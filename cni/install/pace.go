// SPDX-License-Identifier: Apache-2.0

package install

import (
	"errors"
	"log/slog"
	"time"

	"golang.org/x/time/rate"
)

// How often to write, and to speak of it. The package's documentation says why.
const (
	burst     = 5
	sustained = 500 * time.Millisecond
	quiet     = 2 * time.Second // without a write that had to wait, a contest is over
	telling   = 30 * time.Second
)

// errContested is another program that answers each write with its own.
var errContested = errors.New("another program undoes what is written, so it is written again twice a second (Cilium stops with cni.exclusive=false)")

// pace bounds how often the installer writes what somebody else writes as well.
type pace struct {
	log      *slog.Logger
	count    func(Event)
	writes   *rate.Limiter
	tells    *rate.Limiter
	repaired int       // so far
	waiting  bool      // a write that is due waits
	waited   time.Time // when one last did
	failure  error     // of the last write, if it failed
	failed   time.Time // when it did
}

func newPace(o Options) *pace {
	return &pace{
		log: o.Log, count: o.Count,
		writes: rate.NewLimiter(rate.Every(sustained), burst),
		tells:  rate.NewLimiter(rate.Every(telling), burst),
	}
}

// delay returns how long a write has to wait, at most half a second. Nothing is to
// write now.
func (p *pace) delay(now time.Time) time.Duration {
	r := p.writes.ReserveN(now, 1)
	d := r.DelayFrom(now)
	if d == 0 {
		p.waiting = false
		return 0
	}
	r.CancelAt(now)
	p.waited = now
	if !p.waiting {
		p.waiting = true
		p.count(EventContested)
	}
	return d
}

// do writes, if it is time to. A write that failed is not tried again at once: the
// attempt itself is an event in the folder, which is followed by a look.
func (p *pace) do(now time.Time, write func() error) (again time.Duration, err error) {
	if rest := p.failed.Add(sustained).Sub(now); p.failure != nil && rest > 0 {
		return rest, p.failure
	}
	if again := p.delay(now); again > 0 {
		return again, errContested
	}
	p.failure, p.failed = write(), now
	if errors.Is(p.failure, errChanged) {
		p.failure = nil
		return gather, errMoment
	}
	return 0, p.failure
}

// contested reports whether somebody else fights over the files.
func (p *pace) contested(now time.Time) bool {
	return !p.waited.IsZero() && now.Sub(p.waited) < quiet
}

// tellRepaired says that a file was repaired, unless that was said often.
func (p *pace) tellRepaired(now time.Time, file string) {
	p.repaired++
	if p.tells.AllowN(now, 1) {
		p.log.Warn("another program had changed the configuration: chained the plugin in again", "file", file, "repaired", p.repaired)
	}
}
