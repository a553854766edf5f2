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
}

// subjects are held to the same matrix, faults and figures.
func subjects() []subject {
	return []subject{
		{"nftables", nftables.Backend{}, false},
		{"iptables-nft", iptables.Backend{Variant: iptables.NFT}, false},
		{"iptables-legacy", iptables.Backend{Variant: iptables.Legacy}, false},
		{"ebpf", ebpf.Backend{BPFFS: os.Getenv(bpffsEnv)}, true},
	}
}

// hearing are the subjects that can tell who listens.
func hearing(t testing.TB) []subject {
	t.Helper()
	c := conformance.Settings()[0].Config
	c.ClosedPorts = redirect.ClosedRefuse
	return slices.DeleteFunc(subjects(), func(s subject) bool { return s.refuses(t, c) })
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

// able is the setting as the backend can do it: where it can't tell who listens
// and need not, with closed ports captured. It is nil where it can't do it so either.
func (s subject) able(t testing.TB, wanted *conformance.Setting) *conformance.Setting {
	t.Helper()
	if !s.refuses(t, wanted.Config) {
		return wanted
	}
	if !plan(t, wanted.Config).MayCaptureClosed {
		return nil
	}
	if capturing := wanted.CapturingClosed(); !s.refuses(t, capturing.Config) {
		return capturing
	}
	return nil
}

// changes are those of which the backend is able to do both sides.
func (s subject) changes(t testing.TB) []conformance.Change {
	t.Helper()
	var out []conformance.Change
	for _, c := range conformance.Changes() {
		if c.Old, c.New = s.able(t, c.Old), s.able(t, c.New); c.Old != nil && c.New != nil {
			out = append(out, c)
		}
	}
	return out
}
