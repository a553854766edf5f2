// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"strings"
	"testing"
)

// TestFits: the size is that of RFC 9113, section 6.5.2, and nobody has a limit
// who has not said so.
func TestFits(t *testing.T) {
	h := requestHead("x", strings.Repeat("y", 100))
	size := uint32(listSize(h))
	r := newClient(t, Options{})
	if !r.c.Fits(h) {
		t.Error("without SETTINGS_MAX_HEADER_LIST_SIZE it does not fit")
	}
	for limit, want := range map[uint32]bool{size - 1: false, size: true, 1 << 31: true} {
		r.feed(settings(uint32(settingMaxHeaderListSize), limit))
		if got := r.c.Fits(h); got != want {
			t.Errorf("%d bytes of %d: %t", size, limit, got)
		}
	}
}

// TestSettingsDue: who acknowledges is left alone, others are told why it ends.
func TestSettingsDue(t *testing.T) {
	r := newServer(t, Options{})
	r.feed(request(1, true))
	if !r.c.SettingsDue() || !r.w.closed {
		t.Errorf("closed is %t", r.w.closed)
	}
	expect(t, "output", r.output(), "GOAWAY 1 SETTINGS_TIMEOUT")
	expect(t, "events", r.streams[0].events, get1+" end", "reset SETTINGS_TIMEOUT malformed")
	if r.c.SettingsDue() {
		t.Error("ended twice")
	}
	r = newServer(t, Options{})
	r.feed(raw(frameSettings, flagAck, 0, ""))
	if r.c.SettingsDue() || r.w.closed {
		t.Error("ended in spite of the acknowledgement")
	}
}
