// SPDX-License-Identifier: Apache-2.0

//go:build netns

package nftables_test

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// TestFirstRulesHaveTheirLists applies to a pod that dials an excluded port all the
// time: no packet may meet the first rules ahead of what their sets hold.
func TestFirstRulesHaveTheirLists(t *testing.T) {
	const rounds, closed = 150, 9099
	_, pod := testnet.Pair(t)
	c := captureAll()
	c.ExcludeOutboundPorts = []contract.PortRange{{First: closed, Last: closed}}
	var dialling sync.WaitGroup
	var quit atomic.Bool
	defer dialling.Wait()
	defer quit.Store(true)
	dialling.Go(func() { pod.Do(t, func() error { return dialRefused(&quit, closed) }) })
	captured, excluded := uint64(0), uint64(0)
	for range rounds {
		apply(t, pod, c)
		pod.Do(t, func() error {
			conn, err := nft.New()
			if err != nil {
				return err
			}
			all := rules(conn, "outbound")
			captured += packets(all, "everything else that leaves")
			excluded += packets(all, "excluded outbound ports")
			return nil
		})
		remove(t, pod)
		pod.ForgetConnections(t)
	}
	if captured > 0 || excluded == 0 {
		t.Errorf("%d connections to an excluded port were captured, %d not; want none and many", captured, excluded)
	}
}

// dialRefused calls a port of the node on which nobody listens, until it shall stop.
func dialRefused(quit *atomic.Bool, port int) error {
	to := unix.SockaddrInet4{Addr: netip.MustParseAddr(testnet.NodeV4).As4(), Port: port}
	for !quit.Load() {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		err = unix.Connect(s, &to)
		if closeErr := unix.Close(s); closeErr != nil || err != nil && !errors.Is(err, unix.ECONNREFUSED) {
			return errors.Join(err, closeErr)
		}
	}
	return nil
}

// packets is how many first packets the rule with this comment has met.
func packets(all []*nft.Rule, comment string) uint64 {
	for _, r := range all {
		if text, _ := userdata.GetString(r.UserData, userdata.TypeComment); text != comment {
			continue
		}
		for _, e := range r.Exprs {
			if c, ok := e.(*expr.Counter); ok {
				return c.Packets
			}
		}
	}
	return 0
}
