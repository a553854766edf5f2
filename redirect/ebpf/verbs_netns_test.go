// SPDX-License-Identifier: Apache-2.0

//go:build netns

package ebpf

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

const nothingHeld = "0 pods, 0 entries, 0 ears, 0 links"

func TestApplyIsIdempotent(t *testing.T) {
	n := loaded(t)
	_, pod := testnet.Pair(t)
	c := captureAll()
	if !apply(t, n, pod, c) {
		t.Error("first apply: no change, want one")
	}
	if apply(t, n, pod, c) {
		t.Error("second apply: a change, want none")
	}
	if err := check(t, n, pod, c); err != nil {
		t.Error(err)
	}
	c.ExcludeInboundPorts = []contract.PortRange{{First: 8081, Last: 8081}}
	if err := check(t, n, pod, c); !isDifference(err) {
		t.Errorf("check before the new config is applied: %v, want a difference", err)
	}
	for range 3 {
		if !apply(t, n, pod, c) {
			t.Error("apply of a new config: no change, want one")
		}
		if err := check(t, n, pod, c); err != nil {
			t.Error(err)
		}
		c.ExcludeInboundPorts[0].Last++
	}
	c.ExcludeInboundPorts[0].Last--
	after := held(t, n)
	remove(t, n, pod)
	if got := held(t, n); got != nothingHeld {
		t.Errorf("after remove: %s, want %s", got, nothingHeld)
	}
	remove(t, n, pod)
	if apply(t, n, pod, c); held(t, n) != after {
		t.Errorf("policies that were replaced were left: %s, afresh %s", after, held(t, n))
	}
}

func TestHolds(t *testing.T) {
	n := loaded(t)
	ns := testnet.New(t)
	holds := func(b Backend) (holds bool) {
		ns.Do(t, func() (err error) {
			holds, err = b.Holds(t.Context())
			return err
		})
		return holds
	}
	if holds(n.backend()) || holds(Backend{t.TempDir()}) {
		t.Error("an untouched namespace holds something")
	}
	apply(t, n, ns, captureAll())
	if !holds(n.backend()) {
		t.Error("after apply, the namespace holds nothing")
	}
}

// TestNotLoaded names the agent, and lets another backend be tried.
func TestNotLoaded(t *testing.T) {
	ns := testnet.New(t)
	ns.Do(t, func() error {
		_, err := Backend{t.TempDir()}.Apply(t.Context(), plan(t, captureAll()))
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "agent") {
			t.Errorf("apply where nothing is loaded: %v", err)
		}
		return nil
	})
}

func TestCheckNamesTheDifference(t *testing.T) {
	n := loaded(t)
	maps, err := openMaps(n.layout())
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	for name, tt := range map[string]struct {
		tamper func(pd *pod) error
		want   string
	}{
		"pod removed":    {func(pd *pod) error { return pd.maps.pods.Delete(pd.cookie) }, "pod: want a policy, found none"},
		"link removed":   {func(pd *pod) error { return os.Remove(pd.layout.pod(pd.cookie)) }, "inbound: want a link to this namespace, found no link"},
		"other port":     {func(pd *pod) error { return pd.set(podValue{Generation: 1, InboundPort: 1}) }, "inbound port: want 15006, found 1"},
		"step changed":   {func(pd *pod) error { return pd.maps.policies.Put(entryKey{pd.cookie, 1, 1}, entry{}) }, "ipv4 inbound rule 2: want destination in 1 from"},
		"entry removed":  {func(pd *pod) error { return pd.maps.policies.Delete(entryKey{pd.cookie, 1, 2}) }, "ipv4 inbound rule 3: want port in 1 from"},
		"entry added":    {func(pd *pod) error { return pd.maps.policies.Put(entryKey{pd.cookie, 1, 9999}, entry{}) }, ""},
		"address added":  {func(*pod) error { return addAddress("lo", "192.0.2.7/32") }, "head: want chains at"},
		"dial source":    {func(*pod) error { return delAddress("lo", "::6/128") }, "loopback interface: want ::6/128"},
		"policy swapped": {func(pd *pod) error { return pd.set(podValue{Generation: 7, InboundPort: 15006}) }, "head: want chains at"},
	} {
		t.Run(name, func(t *testing.T) {
			_, ns := testnet.Pair(t)
			apply(t, n, ns, captureAll())
			ns.Do(t, func() error {
				return n.backend().inPod(t.Context(), tt.tamper)
			})
			err := check(t, n, ns, captureAll())
			if tt.want == "" {
				if err != nil { // nothing finds it, and so it does no harm
					t.Error(err)
				}
			} else if !isDifference(err) || !strings.HasPrefix(err.Error(), tt.want) {
				t.Fatalf("check: %v, want a difference that begins with %q", err, tt.want)
			}
			apply(t, n, ns, captureAll())
			if err := check(t, n, ns, captureAll()); err != nil {
				t.Errorf("after the repair: %v", err)
			}
			remove(t, n, ns)
		})
	}
}

func addAddress(link, text string) error {
	l, errLink := netlink.LinkByName(link)
	a, err := netlink.ParseAddr(text)
	if err := errors.Join(errLink, err); err != nil {
		return err
	}
	return netlink.AddrAdd(l, a)
}

func delAddress(link, text string) error {
	l, errLink := netlink.LinkByName(link)
	a, err := netlink.ParseAddr(text)
	if err := errors.Join(errLink, err); err != nil {
		return err
	}
	return netlink.AddrDel(l, a)
}

// TestRefusedPlanChangesNothing keeps what was there, and Check refuses it too.
func TestRefusedPlanChangesNothing(t *testing.T) {
	n := loaded(t)
	_, ns := testnet.Pair(t)
	apply(t, n, ns, captureAll())
	before := held(t, n)
	eth1, invalid := captureAll(), captureAll()
	eth1.ExcludeInterfaces = []string{"eth1"}
	invalid.DropInvalid = true
	for _, refused := range []redirect.Config{eth1, invalid} {
		ns.Do(t, func() error {
			_, err := n.backend().Apply(t.Context(), plan(t, refused))
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("apply: %v, want a refusal", err)
			}
			return nil
		})
		if err := check(t, n, ns, refused); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("check: %v, want a refusal", err)
		}
		if after := held(t, n); after != before {
			t.Errorf("held after: %s, before: %s", after, before)
		}
		if err := check(t, n, ns, captureAll()); err != nil {
			t.Error(err)
		}
	}
}

// TestOtherUsersAreRefused, since the proxy's uid means another user there.
func TestOtherUsersAreRefused(t *testing.T) {
	n := loaded(t)
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	file, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	r := &room{file}
	defer r.close()
	err = r.do(func() error { _, err := n.backend().Apply(t.Context(), plan(t, captureAll())); return err })
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "hostUsers") {
		t.Errorf("apply: %v, want a refusal that names hostUsers", err)
	}
	if got := held(t, n); got != nothingHeld {
		t.Errorf("after a refusal: %s, want %s", got, nothingHeld)
	}
}
