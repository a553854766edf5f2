// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"context"
	"slices"
	"time"
)

// sweep unsubscribes from what was not used for IdleTimeout, until ctx ends.
func (c *Client) sweep(ctx context.Context) {
	tick := time.NewTicker(c.opts.IdleTimeout / 10)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			c.mu.Lock()
			if c.phase == up { // what is forgotten must be there for the asking
				c.state.forgetIdle(now, c.opts.IdleTimeout)
				c.publish()
			}
			c.mu.Unlock()
		}
	}
}

// forgetIdle drops what was not used since now-idle. A use is noticed at the
// sweep after it, so everything lives up to one period longer.
func (s *state) forgetIdle(now time.Time, idle time.Duration) {
	s.noteUse(now)
	for _, d := range s.demands {
		if now.Sub(d.lastUsed) > idle {
			s.forget(d)
		}
	}
}

// noteUse collects the marks of the data path. Using a cluster is using every
// destination that leads to it: a connection that lives for days is looked up
// once, and its requests name clusters.
func (s *state) noteUse(now time.Time) {
	usedClusters := map[string]bool{}
	for name, r := range s.resources[kindCluster] {
		if r.used.clear() {
			usedClusters[name] = true
		}
	}
	for _, d := range s.demands {
		leadsThere := func(dep ref) bool { return dep.kind == kindCluster && usedClusters[dep.name] }
		if d.used.clear() || slices.ContainsFunc(d.deps, leadsThere) {
			d.lastUsed = now
		}
	}
}

// makeRoom forgets the least recently used when there are as many as allowed:
// a hundredth of them at once, so that a client which scans addresses does not
// cost a sort each. It returns how many it forgot.
func (s *state) makeRoom(limit int, now time.Time) int {
	if len(s.demands) < limit {
		return 0
	}
	s.noteUse(now)
	all := make([]*demand, 0, len(s.demands))
	for _, d := range s.demands {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *demand) int { return a.lastUsed.Compare(b.lastUsed) })
	n := len(all) - limit + max(1, limit/100)
	for _, d := range all[:n] {
		s.forget(d)
	}
	return n
}
