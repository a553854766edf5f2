// SPDX-License-Identifier: Apache-2.0

package install

import (
	"testing"
	"time"
)

// TestPace: a few writes go at once, any number of them at most a second later.
func TestPace(t *testing.T) {
	t.Parallel()
	var c counts
	p := newPace(New(Options{Count: c.add}).o)
	now := time.Now()
	for n := range burst {
		if d := p.delay(now); d != 0 {
			t.Fatalf("write %d has to wait for %v", n, d)
		}
	}
	for n := range 100 {
		d := p.delay(now)
		if d <= 0 || d > sustained {
			t.Fatalf("write %d has to wait for %v", burst+n, d)
		}
		if early := p.delay(now.Add(d / 2)); early <= 0 || early > d {
			t.Fatalf("asked again, write %d has to wait for %v", burst+n, early)
		}
		now = now.Add(d)
		if d := p.delay(now); d != 0 {
			t.Fatalf("write %d has to wait for another %v", burst+n, d)
		}
		if !p.contested(now) {
			t.Fatal("not contested")
		}
	}
	if c.get(EventContested) != 100 {
		t.Errorf("events: %v", c.of)
	}
	if p.contested(now.Add(quiet + sustained)) {
		t.Error("contested for ever")
	}
	// One each two seconds, as long as it likes: never a delay.
	for range 100 {
		now = now.Add(2 * time.Second)
		if d := p.delay(now); d != 0 {
			t.Fatalf("a write after two seconds has to wait for %v", d)
		}
	}
}
