// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"sync"

	"github.com/shuntmesh/shunt/redirect/conformance"
)

// openers is how many connections of the traffic are under way at a time.
const openers = 8

// traffic opens a change's probes again and again.
type traffic struct {
	quit     chan struct{}
	wg       sync.WaitGroup
	mu       sync.Mutex // guards what follows
	probes   int
	bypasses []error
}

// startTraffic returns when every opener has had a connection.
func (b *bed) startTraffic(c conformance.Change) *traffic {
	tr := &traffic{quit: make(chan struct{})}
	var started sync.WaitGroup
	probes := c.Probes()
	for i := range openers {
		started.Add(1)
		tr.wg.Go(func() {
			first := sync.OnceFunc(started.Done)
			for n := i; ; n += openers {
				tr.note(b.probe(probes[n%len(probes)]))
				first()
				select {
				case <-tr.quit:
					return
				default:
				}
			}
		})
	}
	started.Wait()
	return tr
}

func (tr *traffic) note(r probeResult) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.probes++
	if r.bypass != nil {
		tr.bypasses = append(tr.bypasses, r.bypass)
	}
}

// stop joins the openers and returns how many connections they opened, and what
// was wrong with any.
func (tr *traffic) stop() (probes int, bypasses []error) {
	close(tr.quit)
	tr.wg.Wait()
	return tr.probes, tr.bypasses
}
