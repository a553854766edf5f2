// SPDX-License-Identifier: Apache-2.0

package footprint

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// trimEvery is how often Trim looks.
	trimEvery = 500 * time.Millisecond
	// quiet is the most turns of the event loop in that time that are no load.
	quiet = 25
	// worthwhile is how much must have been allocated since it last trimmed.
	worthwhile = 512 << 10
)

// Trim gives memory back to the system each time that load has ended, until ctx
// does. Go itself keeps what a burst needed until it collects again, which a
// process that has become idle does after two minutes, and returns little of it.
// turns counts what the proxy does.
func Trim(ctx context.Context, turns func() uint64) {
	ticker := time.NewTicker(trimEvery)
	defer ticker.Stop()
	t := trimmer{turns: turns()}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if t.due(turns(), allocated()) {
				debug.FreeOSMemory()
				t.allocated = allocated()
			}
		}
	}
}

// trimmer knows what was seen when it last looked, and allocated when it last
// trimmed.
type trimmer struct{ turns, allocated uint64 }

// due decides whether now is a time to trim.
func (t *trimmer) due(turns, allocated uint64) bool {
	idle := turns-t.turns <= quiet
	t.turns = turns
	return idle && allocated-t.allocated >= worthwhile
}

// allocated is what was ever allocated, in bytes.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
