// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/conformance"
	"github.com/shuntmesh/shunt/redirect/ebpf"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
	"github.com/shuntmesh/shunt/redirect/iptables"
	"github.com/shuntmesh/shunt/redirect/nftables"
)

func TestMain(m *testing.M) {
	if testnet.Child() {
		return
	}
	if text := os.Getenv(applierEnv); text != "" {
		os.Exit(applierMain(text))
	}
	os.Exit(onNode(m.Run))
}

// bpffsEnv tells an applier where the node's programs are pinned.
const bpffsEnv = "SHUNT_CONFORMANCE_BPFFS"

// onNode runs the tests in a control group to which eBPF programs are attached,
// as the pods of a node are. Without root each test says itself what it lacks.
func onNode(run func() int) (code int) {
	if os.Getuid() != 0 {
		return run()
	}
	c, err := testnet.Confine()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := c.Leave(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	if _, err := (ebpf.Node{BPFFS: c.BPFFS, CgroupRoot: c.Cgroup}).Load(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := os.Setenv(bpffsEnv, c.BPFFS); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return run()
}

// subject is a backend under test.
type subject struct {
	name    string
	backend redirect.Backend
	// partial says that it may refuse a Config. The others must do them all.
	partial bool
	// afterNAT says that it decides when other rules of NAT have had their turn.
	afterNAT bool
}

// subjects are held to the same matrix, faults and figures.
func subjects() []subject {
	return []subject{
		{"nftables", nftables.Backend{}, false, false},
		{"iptables-nft", iptables.Backend{Variant: iptables.NFT}, false, false},
		{"iptables-legacy", iptables.Backend{Variant: iptables.Legacy}, false, false},
		{"ebpf", ebpf.Backend{BPFFS: os.Getenv(bpffsEnv)}, true, true},
	}
}

// refuses reports whether the backend says of a Config that it can't do it, in a
// namespace that is then as it was before.
func (s subject) refuses(t testing.TB, c redirect.Config) bool {
	t.Helper()
	if !s.partial {
		return false
	}
	var refused bool
	testnet.New(t).Do(t, func() error {
		_, err := s.backend.Apply(t.Context(), plan(t, c))
		if !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		refused = true
		t.Logf("%s refuses: %v", s.name, err)
		holds, err := s.backend.Holds(t.Context())
		if err == nil && holds {
			err = errors.New("what was refused has left something behind")
		}
		return err
	})
	return refused
}

// changes are those of which the backend can do both sides.
func (s subject) changes(t testing.TB) []conformance.Change {
	t.Helper()
	return slices.DeleteFunc(conformance.Changes(), func(c conformance.Change) bool {
		return s.refuses(t, c.Old.Config) || s.refuses(t, c.New.Config)
	})
}
