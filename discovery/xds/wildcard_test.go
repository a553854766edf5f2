// SPDX-License-Identifier: Apache-2.0

package xds_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/discovery/xds"
	"github.com/shuntmesh/shunt/internal/contract"
)

func newWildPeer(t *testing.T, s *xds.Store) *peer {
	p := newPeer(t, s)
	p.typ = contract.TypeBalanced
	return p
}

func TestWildcard(t *testing.T) {
	s := newStore(t, 100)
	put := func(versions map[string]string) { setOf(s, contract.TypeBalanced, versions) }
	early := newWildPeer(t, s)
	early.mustRequest([]string{"*"}, nil, nil)
	early.expect("there is nothing, and that is said", "nothing")
	early.expect("once", "")

	put(map[string]string{"a": "1", "b": "1"})
	set(s, map[string]string{"a": "1"}) // of another type
	early.expect("they appear", "a=1 b=1")
	put(map[string]string{"a": "1"})
	early.expect("a as it was", "")
	put(map[string]string{"a": "2", "c": "1"})
	removeOf(s, contract.TypeBalanced, "b")
	early.expect("the first change", "a=2 c=1")
	early.expect("the second, after the answer to the first", "-b")
	early.expect("b goes once", "")
	put(map[string]string{"b": "1"})
	early.expect("and comes again", "b=1")

	late := newWildPeer(t, s)
	late.mustRequest([]string{"*"}, nil, nil)
	late.expect("all that there is", "a=2 b=1 c=1")
	late.mustRequest(nil, []string{"*"}, nil)
	put(map[string]string{"a": "3"})
	late.expect("no longer subscribed", "")
	early.expect("the other is", "a=3")
}

func TestWildcardResumes(t *testing.T) {
	s := newStore(t, 100)
	setOf(s, contract.TypeBalanced, map[string]string{"same": "1", "changed": "2", "new": "1"})
	p := newWildPeer(t, s)
	p.mustRequest([]string{"*"}, nil, map[string]string{"same": "1", "changed": "1", "gone": "1"})
	p.expect("only what is different", "changed=2 new=1 -gone")

	p = newWildPeer(t, s)
	p.mustRequest([]string{"*"}, nil, map[string]string{"same": "1", "changed": "2", "new": "1"})
	p.expect("that all is as it was", "nothing")
	p.expect("once", "")
}

// What came and went while a response was under way is nothing to tell.
func TestWildcardTellsOfNothingThatWentAgain(t *testing.T) {
	s := newStore(t, 100)
	p := newWildPeer(t, s)
	p.mustRequest([]string{"*"}, nil, nil)
	setOf(s, contract.TypeBalanced, map[string]string{"a": "1"})
	removeOf(s, contract.TypeBalanced, "a")
	p.expect("empty", "nothing")
	p.expect("it is not there", "")
	removeOf(s, contract.TypeBalanced, "a")
	p.expect("and was not", "")
}

// A table in parts says so, and the last part does not.
func TestWildcardMarksParts(t *testing.T) {
	s := newStore(t, 100)
	many := map[string]string{}
	for i := range 10 {
		many[fmt.Sprintf("big-%d", i)] = strings.Repeat("1", 7<<10)
	}
	setOf(s, contract.TypeBalanced, many)
	p := newWildPeer(t, s)
	p.mustRequest([]string{"*"}, nil, nil)
	p.expect("first", "big-0=1 big-1=1 big-2=1 big-3=1 ...")
	p.expect("second", "big-4=1 big-5=1 big-6=1 big-7=1 ...")
	p.expect("last", "big-8=1 big-9=1")
	p.expect("no more", "")
}
