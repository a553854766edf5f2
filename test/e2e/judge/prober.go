// SPDX-License-Identifier: Apache-2.0

package judge

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The pace of calls to one address. At first a pod has nobody who listens, and
// the first who does must be found soon.
const (
	lookEvery = 10 * time.Millisecond // for addresses that were given away
	hurryGap  = 25 * time.Millisecond
	hurryFor  = 20 * time.Second // or until the first answer, and a second more
	steadyGap = 500 * time.Millisecond
)

// Pods returns the addresses that are given away at this moment.
type Pods func() map[netip.Addr]bool

// Probe calls every address of pods at a port of theirs, from when it is given
// away until it is taken back. Those that were there before are called at leisure.
func (j *Judge) Probe(ctx context.Context, pods Pods, port uint16) {
	var calling sync.WaitGroup
	defer calling.Wait()
	known := map[netip.Addr]context.CancelFunc{}
	defer func() {
		for _, cancel := range known {
			cancel()
		}
	}()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for first := true; ; first = false {
		there := pods()
		for addr, cancel := range known {
			if !there[addr] {
				cancel()
				delete(known, addr)
			}
		}
		for addr := range there {
			if known[addr] != nil {
				continue
			}
			callCtx, cancel := context.WithCancel(ctx)
			known[addr] = cancel
			hurry := hurryFor
			if first {
				hurry = 0
			}
			calling.Go(func() { j.probe(callCtx, netip.AddrPortFrom(addr, port), hurry) })
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (j *Judge) probe(ctx context.Context, to netip.AddrPort, hurry time.Duration) {
	end := time.Now().Add(hurry)
	answered := false
	for {
		if err := j.call(ctx, to); err == nil && !answered {
			answered = true
			end = time.Now().Add(time.Second)
		}
		gap := steadyGap
		if time.Now().Before(end) {
			gap = hurryGap
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(gap):
		}
	}
}

// HostLocal returns the addresses that the CNI plugin host-local has given away:
// it makes a file for each, named after it, before the pod has the address. dirs
// returns the folders to look into, one for each network; a node that is down has
// none.
func HostLocal(dirs func() []string) Pods {
	return func() map[netip.Addr]bool {
		there := map[netip.Addr]bool{}
		for _, dir := range dirs() {
			entries, _ := os.ReadDir(dir)
			for _, e := range entries {
				if addr, err := netip.ParseAddr(filepath.Base(e.Name())); err == nil {
					there[addr] = true
				}
			}
		}
		return there
	}
}
