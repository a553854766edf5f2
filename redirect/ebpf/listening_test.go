// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

func TestEarText(t *testing.T) {
	for want, e := range map[string]ear{
		"*:8080":                       {Addr: everywhere(), Port: 8080},
		"0.0.0.0:80":                   {Addr: wideOf(netip.IPv4Unspecified()), Port: 80},
		"[::]:80":                      {Addr: wideOf(netip.IPv6Unspecified()), Port: 80},
		"10.0.0.1:8080 on interface 2": {Addr: wideOf(netip.MustParseAddr("10.0.0.1")), Port: 8080, Device: 2},
	} {
		if got := e.String(); got != want {
			t.Errorf("%+v: %q, want %q", e, got, want)
		}
	}
}

// TestDiffer compares who listens with what is counted.
func TestDiffer(t *testing.T) {
	itself := ear{Netns: 1, Roll: 2}
	place, other := itself, itself
	place.Addr, place.Port, other.Port, other.Addr = everywhere(), 80, 81, everywhere()
	before := place
	before.Roll = 1
	for name, tt := range map[string]struct {
		listeners []found
		rolls     map[ear]heard
		want      string
	}{
		"nobody":               {nil, map[ear]heard{itself: {}}, ""},
		"no roll":              {nil, map[ear]heard{before: {Sockets: 1}}, "who listens: want a count, found none"},
		"as many":              {[]found{{place, 1}, {place, 1}}, map[ear]heard{itself: {}, place: {Sockets: 2}}, ""},
		"of the roll before":   {nil, map[ear]heard{itself: {}, before: {Sockets: 3}}, ""},
		"all have left":        {nil, map[ear]heard{itself: {}, place: {}}, ""},
		"not counted":          {[]found{{place, 0}}, map[ear]heard{itself: {}, place: {Sockets: 1}}, "who listens at *:80: want it counted, found it not counted"},
		"too few":              {[]found{{place, 1}, {place, 1}}, map[ear]heard{itself: {}, place: {Sockets: 1}}, "who listens at *:80: want 2, found 1"},
		"nowhere":              {[]found{{place, 1}}, map[ear]heard{itself: {}}, "who listens at *:80: want 1, found 0"},
		"too many":             {nil, map[ear]heard{itself: {}, other: {Sockets: 1}}, "who listens at *:81: want 0, found 1"},
		"no room for some":     {[]found{{place, 1}}, map[ear]heard{itself: {Sockets: 1}}, ""},
		"no room, but a ghost": {nil, map[ear]heard{itself: {Sockets: 1}, other: {Sockets: 1}}, "who listens at *:81: want 0, found 1"},
	} {
		got := ""
		if err := differ(itself, tt.listeners, tt.rolls); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestListeningLayout holds the sizes of bpf/listening.h.
func TestListeningLayout(t *testing.T) {
	spec, err := loadPrograms()
	if err != nil {
		t.Fatal(err)
	}
	m := spec.Maps[programsMapListening]
	if got := binary.Size(ear{}); got != int(m.KeySize) {
		t.Errorf("an ear has %d bytes, the map's key %d", got, m.KeySize)
	}
	if got := binary.Size(heard{}); got != int(m.ValueSize) {
		t.Errorf("heard has %d bytes, the map's value %d", got, m.ValueSize)
	}
	if got := binary.Size(podValue{}); got != int(spec.Maps[programsMapPods].ValueSize) {
		t.Errorf("podValue has %d bytes, the map's value %d", got, spec.Maps[programsMapPods].ValueSize)
	}
}
