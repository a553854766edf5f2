// SPDX-License-Identifier: Apache-2.0

//go:build netns

package ebpf

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// TestWrongCount is found by Check, and put right by Apply.
func TestWrongCount(t *testing.T) {
	e := newEarful(t)
	e.pod.Listen(t, "app", "[::]:7000")
	app, ghost := ear{Addr: everywhere(), Port: 7000}, ear{Addr: everywhere(), Port: 7001}
	for name, tt := range map[string]struct {
		tamper func(m *podMaps, asked roll, at func(ear) ear) error
		want   string
	}{
		"too few": {func(m *podMaps, _ roll, at func(ear) ear) error { return m.listening.Delete(at(app)) }, "who listens at *:7000: want 1, found 0"},
		"too many": {func(m *podMaps, _ roll, at func(ear) ear) error {
			return m.listening.Put(at(app), heard{Sockets: 2})
		}, "who listens at *:7000: want 1, found 2"},
		"a ghost": {func(m *podMaps, _ roll, at func(ear) ear) error {
			return m.listening.Put(at(ghost), heard{Sockets: 1})
		}, "who listens at *:7001: want 0, found 1"},
		"no roll":      {func(m *podMaps, _ roll, at func(ear) ear) error { return m.listening.Delete(at(ear{})) }, "who listens: want a count, found none"},
		"another roll": {func(m *podMaps, _ roll, at func(ear) ear) error { return m.listening.Put(at(ear{}), heard{ID: 1}) }, "who listens at *:"},
	} {
		t.Run(name, func(t *testing.T) {
			e.pod.Do(t, func() error {
				return e.backend().inPod(t.Context(), func(pd *pod) error {
					v, err := pd.value()
					if err != nil {
						return err
					}
					return tt.tamper(pd.maps, v.Asked, func(at ear) ear {
						at.Netns, at.Roll = pd.cookie, v.Asked
						return at
					})
				})
			})
			if err := check(t, e.Node, e.pod, asking()); !isDifference(err) || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("check: %v, want a difference that begins with %q", err, tt.want)
			}
			if !apply(t, e.Node, e.pod, asking()) {
				t.Error("apply: no change, want one")
			}
			e.mustCount(t, "after the repair")
			e.mustHear(t, "after the repair", 7000, true)
			e.mustHear(t, "after the repair", 7001, false)
		})
	}
}

// TestMovedWhileListening is not heard of, and found by Check.
func TestMovedWhileListening(t *testing.T) {
	e := newEarful(t)
	fd := e.socket(t, 7000)
	defer unix.Close(fd)
	must(t, unix.Listen(fd, 1))
	e.pod.Do(t, func() error { return unix.BindToDevice(fd, "lo") })
	if err := check(t, e.Node, e.pod, asking()); !isDifference(err) || !strings.Contains(err.Error(), "who listens at *:7000") {
		t.Errorf("check: %v, want a difference that names the place", err)
	}
	apply(t, e.Node, e.pod, asking())
	e.mustHear(t, "at another interface", 7000, false)
	e.mustCount(t, "at another interface")
}

// TestListenerFromOutside of the control group is not heard of either, when it
// begins nor when it ends.
func TestListenerFromOutside(t *testing.T) {
	e := newEarful(t)
	enterGroup(t, filepath.Dir(e.CgroupRoot))
	fd := e.socket(t, 7000)
	must(t, unix.Listen(fd, 1))
	enterGroup(t, e.CgroupRoot)
	for _, heard := range []bool{true, false} {
		e.mustHear(t, "before Apply", 7000, !heard)
		if err := check(t, e.Node, e.pod, asking()); !isDifference(err) {
			t.Errorf("check: %v, want a difference", err)
		}
		apply(t, e.Node, e.pod, asking())
		e.mustHear(t, "after Apply", 7000, heard)
		e.mustCount(t, "after Apply")
		if heard {
			must(t, unix.Close(fd))
		}
	}
}

// enterGroup moves this process to a control group.
func enterGroup(t *testing.T, group string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0o644))
}

// TestRecountIsNotSeen by those who call meanwhile, or begin and end to listen
// at a place that they share: nobody is refused, and in the end all are counted.
// Where a pod listens at many places, those that are left are erased at once.
func TestRecountIsNotSeen(t *testing.T) {
	for name, others := range map[string]int{"few places": 0, "many places": 100} {
		t.Run(name, func(t *testing.T) {
			e := newEarful(t)
			for i := range others {
				fd := e.socket(t, 8000+i)
				defer unix.Close(fd)
				must(t, unix.Listen(fd, 1))
			}
			c := e.recount(t, 7000)
			if err := check(t, e.Node, e.pod, c); err != nil {
				t.Errorf("after all recounts: %v", err)
			}
			e.mustHear(t, "after all have gone", 7001, false)
			s, err := e.Status()
			t.Logf("counted: %v", s.Counters)
			if err != nil || others == 0 && s.Counters["uncounted_listeners"] != 0 {
				t.Errorf("counted: %v, %v, want no uncounted_listeners", s.Counters, err)
			}
		})
	}
}

// recount has all counted again and again, while some come and go at a port and
// the next, the first of which is never without a listener.
func (e earful) recount(t *testing.T, port int) redirect.Config {
	const sharers, recounts = 4, 30
	stays := e.socket(t, port)
	defer unix.Close(stays)
	must(t, unix.Listen(stays, 1))
	quit := make(chan struct{})
	var wg sync.WaitGroup
	for i := range sharers {
		wg.Go(func() { e.comeAndGo(t, quit, port+i%2) })
	}
	wg.Go(func() {
		for {
			select {
			case <-quit:
				return
			default:
				e.mustHear(t, "while all are counted", port, true)
			}
		}
	})
	c := asking()
	for i := range recounts {
		other := contract.PortRange{First: uint16(9000 + i), Last: uint16(9000 + i)}
		c.ExcludeInboundPorts = []contract.PortRange{other} // another policy, and so another roll
		apply(t, e.Node, e.pod, c)
	}
	close(quit)
	wg.Wait()
	return c
}

// comeAndGo begins and ends to listen until it is told to quit.
func (e earful) comeAndGo(t *testing.T, quit <-chan struct{}, port int) {
	e.pod.Do(t, func() error {
		for {
			select {
			case <-quit:
				return nil
			default:
			}
			fd, err := bound(netip.IPv6Unspecified(), port)
			if err != nil {
				return err
			}
			if err := errors.Join(unix.Listen(fd, 1), unix.Close(fd)); err != nil {
				return err
			}
		}
	})
}

// TestMoreThanThereIsRoomFor has closed ports of that pod captured, and of no
// other, until there are fewer again.
func TestMoreThanThereIsRoomFor(t *testing.T) {
	const places, first = 1024, 10000 // MAX_EARS of bpf/listening.h
	e := newEarful(t)
	other := earful{Node: e.Node}
	other.node, other.pod = testnet.Pair(t)
	other.pod.Listen(t, "proxy", "[::]:15006")
	apply(t, e.Node, other.pod, asking())
	for round := range 2 { // at other ports, so that the first must have left
		first := first + round*places
		var open []int
		for i := range places { // and one is the proxy's
			fd := e.socket(t, first+i)
			must(t, unix.Listen(fd, 1))
			open = append(open, fd)
		}
		e.mustHear(t, "too many", first, true)
		e.mustHear(t, "too many", first+places-1, true)
		e.mustHear(t, "too many", 7000, true)
		other.mustHear(t, "another pod", 7000, false)
		e.mustCount(t, "too many")
		for _, fd := range open {
			must(t, unix.Close(fd))
		}
		e.mustHear(t, "few", 7000, false)
		e.mustHear(t, "few", first, false)
		e.mustCount(t, "few")
	}
	s, err := e.Status()
	if got := s.Counters["uncounted_listeners"]; err != nil || got < 2 || got > 2*65 {
		t.Errorf("counted: %v, %v, want 1 of uncounted_listeners and then at most 64 more, for places that stay", s.Counters, err)
	}
}

// TestFullOfListeners refuses to steer a pod for which there is no room to count.
func TestFullOfListeners(t *testing.T) {
	e := newEarful(t)
	maps, err := openMaps(e.layout())
	must(t, err)
	defer maps.Close()
	for i := range maps.listening.MaxEntries() {
		if err := maps.listening.Put(ear{Netns: 1, Device: i, Roll: 1, Port: 1}, heard{}); err != nil && !isFull(err) {
			t.Fatal(err)
		}
	}
	late := testnet.New(t)
	late.Do(t, func() error {
		_, err := e.backend().Apply(t.Context(), plan(t, asking()))
		if err == nil || !strings.Contains(err.Error(), "maps are full") {
			t.Errorf("apply: %v, want an error that says that the maps are full", err)
		}
		return nil
	})
	fd := e.socket(t, 7000)
	must(t, unix.Listen(fd, 1))
	e.mustHear(t, "of the pod that was there", 7000, true)
	e.mustHear(t, "of the pod that was there, closed", 7001, true)
	must(t, unix.Close(fd))
	e.mustHear(t, "none without room", 7001, false)
}
