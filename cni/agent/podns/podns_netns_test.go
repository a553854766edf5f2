// SPDX-License-Identifier: Apache-2.0

//go:build netns

package podns_test

import (
	"errors"
	"os"
	"testing"

	"github.com/shuntmesh/shunt/cni/agent/podns"
	"github.com/shuntmesh/shunt/cni/agent/podtest"
)

// TestRealPods finds the namespaces of pods of all kinds, and of none that is in
// the host's network.
func TestRealPods(t *testing.T) {
	kinds := map[string]podtest.Kind{
		"10000000-0000-4000-8000-000000000001": {},
		"10000000-0000-4000-8000-000000000002": {Systemd: true},
		"10000000-0000-4000-8000-000000000003": {UID: 65532},
		"10000000-0000-4000-8000-000000000004": {UserNS: true},
		"10000000-0000-4000-8000-000000000005": {Host: true},
		"00000000000040008000000000000006":     {Systemd: true}, // static
	}
	pods := map[string]*podtest.Pod{}
	for uid, kind := range kinds {
		pods[uid] = podtest.Start(t, uid, kind)
		podtest.Start(t, uid, podtest.Kind{Systemd: kind.Systemd, Container: "nested"}) // younger, elsewhere
	}
	f, err := podns.New("/proc")
	if err != nil {
		t.Fatal(err)
	}
	found, err := f.Find(func(uid string) bool { _, is := kinds[uid]; return is })
	if err != nil {
		t.Fatal(err)
	}
	for uid, kind := range kinds {
		if kind.Host {
			if got := found[uid].PID; got == pods[uid].PID {
				t.Errorf("%s: process %d is in the host's network", uid, got)
			}
			continue
		}
		if got := found[uid].PID; got != pods[uid].PID {
			t.Errorf("%+v: found process %d, want %d", kind, got, pods[uid].PID)
			continue
		}
		if !f.Holds(found[uid]) {
			t.Errorf("%+v: not held", kind)
		}
		ns, err := f.Open(uid, found[uid])
		if err != nil {
			t.Errorf("%+v: %v", kind, err)
			continue
		}
		same(t, ns, pods[uid])
		ns.Close()
		if ns, err := f.Open("10000000-0000-4000-8000-00000000000f", found[uid]); !errors.Is(err, podns.ErrGone) {
			t.Errorf("open for another pod: %v, %v", ns, err)
		}
		pods[uid].Stop()
		if f.Holds(found[uid]) {
			t.Errorf("%+v: held after its end", kind)
		}
		if ns, err := f.Open(uid, found[uid]); !errors.Is(err, podns.ErrGone) {
			t.Errorf("open after its end: %v, %v", ns, err)
		}
	}
}

func same(t *testing.T, ns *os.File, p *podtest.Pod) {
	t.Helper()
	got, err := ns.Stat()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Stat(p.Net())
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(got, want) {
		t.Errorf("another namespace than that of process %d", p.PID)
	}
}
