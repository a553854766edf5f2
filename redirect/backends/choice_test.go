// SPDX-License-Identifier: Apache-2.0

package backends_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/backends"
)

// teller writes down what is asked of it.
type teller struct {
	log   *[]string
	name  string
	err   error
	holds bool
}

func (b teller) tell(verb string) error {
	*b.log = append(*b.log, b.name+" "+verb)
	return b.err
}

func (b teller) Apply(context.Context, redirect.Plan) (bool, error) { return true, b.tell("apply") }
func (b teller) Check(context.Context, redirect.Plan) error         { return b.tell("check") }
func (b teller) Remove(context.Context) error                       { return b.tell("remove") }
func (b teller) Holds(context.Context) (bool, error)                { return b.holds, nil }

// TestApplyCleansOthers takes away what others hold, also where one of them
// can't, and then makes again what they may have shared with the one in use.
func TestApplyCleansOthers(t *testing.T) {
	lacks := fmt.Errorf("no such program: %w", errors.ErrUnsupported)
	broken := errors.New("broken")
	tests := []struct {
		name        string
		first, last teller // of the others
		want        []string
		left        string
		err         error
	}{
		{"none holds anything", teller{}, teller{}, []string{"use apply"}, "", nil},
		{"both hold something", teller{holds: true}, teller{holds: true}, []string{"use apply", "first remove", "last remove", "use apply"}, "", nil},
		{"the last can't", teller{holds: true}, teller{holds: true, err: lacks}, []string{"use apply", "first remove", "last remove", "use apply"}, "rules of last may be left: no such program", nil},
		{"the first can't", teller{holds: true, err: lacks}, teller{holds: true}, []string{"use apply", "first remove", "last remove", "use apply"}, "rules of first may be left", nil},
		{"the last breaks", teller{holds: true}, teller{holds: true, err: broken}, []string{"use apply", "first remove", "last remove", "use apply"}, "", broken},
	}
	for _, tt := range tests {
		var log []string
		tt.first.log, tt.first.name = &log, "first"
		tt.last.log, tt.last.name = &log, "last"
		choice, err := backends.Choose("use", []backends.Backend{
			{Backend: tt.first, Name: "first"},
			{Backend: teller{log: &log, name: "use"}, Name: "use"},
			{Backend: tt.last, Name: "last"},
		})
		if err != nil {
			t.Fatal(err)
		}
		done, err := choice.Apply(t.Context(), redirect.Plan{})
		if done.By != "use" || !done.Changed || !errors.Is(err, tt.err) {
			t.Errorf("%s: %+v, %v; want it applied, and %v", tt.name, done, err, tt.err)
		}
		if diff := cmp.Diff(tt.want, log); diff != "" {
			t.Errorf("%s: asked (-want +got):\n%s", tt.name, diff)
		}
		if left := errors.Join(done.Left...); (left == nil) != (tt.left == "") || left != nil && !strings.Contains(left.Error(), tt.left) {
			t.Errorf("%s: left %v, want %q", tt.name, left, tt.left)
		}
	}
}

// TestPreferred is about a backend that is used where it works and somebody names
// it, and whose pods are known and let go by whatever name.
func TestPreferred(t *testing.T) {
	lacks := fmt.Errorf("nothing is loaded: %w", errors.ErrUnsupported)
	apply := func(c backends.Choice) (string, error) {
		done, err := c.Apply(t.Context(), redirect.Plan{})
		return done.By, err
	}
	keep := func(c backends.Choice) (string, error) { return apply(c.Keeping(t.Context())) }
	check := func(c backends.Choice) (string, error) { return "", c.Check(t.Context(), redirect.Plan{}) }
	remove := func(c backends.Choice) (string, error) {
		_, err := c.Remove(t.Context())
		return "", err
	}
	tests := []struct {
		name        string
		chosen      string
		plain, node teller
		do          func(backends.Choice) (string, error)
		by          string
		want        string
	}{
		{"named", "node", teller{}, teller{}, apply, "node", "node apply"},
		{"named, over the other", "node", teller{holds: true}, teller{}, apply, "node", "node apply, plain remove, node apply"},
		{"named, where it can't", "node", teller{}, teller{err: lacks}, apply, "plain", "node apply, plain apply"},
		{"not named", "auto", teller{}, teller{}, apply, "plain", "plain apply"},
		{"not named, over it", "auto", teller{}, teller{holds: true}, apply, "plain", "plain apply, node remove, plain apply"},
		{"another is named, over it", "plain", teller{}, teller{holds: true}, apply, "plain", "plain apply, node remove, plain apply"},
		{"kept", "node", teller{holds: true}, teller{}, keep, "plain", "plain apply"},
		{"kept, beside the other", "node", teller{holds: true}, teller{holds: true}, keep, "plain", "plain apply, node remove, plain apply"},
		{"kept, where it can't", "node", teller{holds: true, err: lacks}, teller{}, keep, "node", "plain apply, node apply, plain remove"},
		{"nothing to keep", "node", teller{}, teller{}, keep, "node", "node apply"},
		{"without rules to keep", "plain", teller{}, teller{holds: true}, keep, "plain", "plain apply, node remove, plain apply"},
		{"checked by no name", "auto", teller{}, teller{holds: true}, check, "", "node check"},
		{"checked by no name, and of the other", "auto", teller{holds: true}, teller{}, check, "", "plain check"},
		{"checked by its name, and of the other", "node", teller{holds: true}, teller{}, check, "", "plain check"},
		{"removed by no name", "auto", teller{}, teller{holds: true}, remove, "", "plain remove, node remove"},
		{"removed where it can't be there", "auto", teller{}, teller{err: lacks}, remove, "", "plain remove, node remove"},
	}
	for _, tt := range tests {
		var log []string
		tt.plain.log, tt.plain.name, tt.node.log, tt.node.name = &log, "plain", &log, "node"
		c, err := backends.Choose(tt.chosen, []backends.Backend{
			{Backend: tt.plain, Name: "plain"},
			{Backend: tt.node, Name: "node", Preferred: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		if by, err := tt.do(c); err != nil || by != tt.by || strings.Join(log, ", ") != tt.want {
			t.Errorf("%s: by %q, %v, asked %q; want by %q, asked %q", tt.name, by, err, log, tt.by, tt.want)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, name := range []string{"auto", "nftables", "iptables", "iptables-nft", "iptables-legacy"} {
		if _, err := backends.Choose(name, backends.All()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", "ebpf", "iptables-", "NFTABLES"} {
		_, err := backends.Choose(name, backends.All())
		if err == nil || !strings.Contains(err.Error(), "allowed: auto, nftables, iptables, iptables-nft, iptables-legacy") {
			t.Errorf("%q: %v, want what is allowed", name, err)
		}
	}
}
