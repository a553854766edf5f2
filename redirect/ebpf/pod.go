// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"github.com/shuntmesh/shunt/redirect"
)

// pod is one namespace, while nobody else changes what is written about it.
type pod struct {
	layout layout
	maps   *podMaps
	netns  *os.File // of the namespace
	cookie uint64
}

// want returns the policy that a plan comes to in this namespace.
func (pd *pod) want(p redirect.Plan) (policy, error) {
	if err := errors.Join(refuse(p), refuseOtherUsers(pd.netns)); err != nil {
		return policy{}, err
	}
	s, err := look()
	if err != nil {
		return policy{}, err
	}
	source, err := redirect.IPv6.DialSource()
	if err != nil {
		return policy{}, err
	}
	// After Apply it is there where the plan needs it, whether or not it is now.
	s.own = slices.DeleteFunc(s.own, func(a netip.Addr) bool { return a == source.Addr() })
	if dialSource(p) {
		s.own = append(s.own, source.Addr())
	}
	return compile(p, s)
}

// grace is how long a connection may be judged at most: the entries of a policy
// are taken away when nobody reads them any more. A reader that takes longer
// finds one missing, and refuses.
const grace = 5 * time.Millisecond

// apply makes want hold. The link comes first: until the pod's word is written,
// it lets everything pass.
func (pd *pod) apply(want policy) (changed bool, err error) {
	err = pd.compare(want)
	var different *redirect.Difference
	if !errors.As(err, &different) {
		return false, err
	}
	if err := pd.attach(); err != nil {
		return false, err
	}
	old, err := pd.value()
	if err != nil {
		return false, err
	}
	next := podValue{Generation: max(old.Generation+1, 1), InboundPort: want.inboundPort}
	if want.asks {
		next.Asked = old.Asked.other()
		next.Kept = next.Asked
	}
	if err := pd.write(next.Generation, want); err != nil {
		return false, errors.Join(err, pd.erase(next.Generation))
	}
	if err := pd.publish(old, next); err != nil {
		return false, errors.Join(err, pd.erase(next.Generation))
	}
	if old.Generation == 0 {
		return true, nil
	}
	time.Sleep(grace)
	// And the one before, of an Apply that was killed here.
	return true, errors.Join(pd.erase(old.Generation), pd.erase(old.Generation-1), pd.dropRolls(next.Asked))
}

// publish is the moment from which next holds. Listeners that were there before
// are looked for ahead of it, so that none is missed.
func (pd *pod) publish(old, next podValue) error {
	if err := pd.startRoll(old, next.Asked); err != nil {
		return err
	}
	announced := podValue{old.Generation, next.InboundPort, old.Asked, cmp.Or(next.Asked, old.Asked)}
	if err := pd.set(announced); err != nil {
		return err
	}
	if next.InboundPort != 0 {
		if _, err := pd.findListeners(); err != nil {
			return err
		}
	}
	return pd.set(next)
}

// value returns what holds; the zero value where nothing does.
func (pd *pod) value() (podValue, error) {
	var v podValue
	err := pd.maps.pods.Lookup(pd.cookie, &v)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return v, fmt.Errorf("read pod: %w", hint(err))
	}
	return v, nil
}

func (pd *pod) set(v podValue) error {
	if err := pd.maps.pods.Put(pd.cookie, v); err != nil {
		return fmt.Errorf("write pod: %w", full(err))
	}
	return nil
}

// write puts a policy there under a number that holds nothing yet, or what a
// killed Apply left.
func (pd *pod) write(generation uint32, p policy) error {
	if err := pd.erase(generation); err != nil {
		return err
	}
	for i, e := range p.entries {
		if err := pd.maps.policies.Put(entryKey{pd.cookie, generation, uint32(i)}, e); err != nil {
			return fmt.Errorf("write policy: %w", full(err))
		}
	}
	return nil
}

// erase takes a policy away, from its end: where it is killed, what is left is
// found again.
func (pd *pod) erase(generation uint32) error {
	last, err := pd.count(generation)
	if err != nil {
		return err
	}
	for i := last; i > 0; i-- {
		err := pd.maps.policies.Delete(entryKey{pd.cookie, generation, i - 1})
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("erase policy: %w", hint(err))
		}
	}
	return nil
}

// count returns how many entries a policy has.
func (pd *pod) count(generation uint32) (uint32, error) {
	var e entry
	for i := uint32(0); ; i++ {
		err := pd.maps.policies.Lookup(entryKey{pd.cookie, generation, i}, &e)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return i, nil
		}
		if err != nil {
			return 0, fmt.Errorf("read policy: %w", hint(err))
		}
	}
}

// remove undoes apply in the reverse order.
func (pd *pod) remove() error {
	old, err := pd.value()
	if err != nil {
		return err
	}
	if err := pd.maps.pods.Delete(pd.cookie); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("remove pod: %w", hint(err))
	}
	if err := errors.Join(pd.dropRolls(0), pd.detach()); err != nil {
		return err
	}
	// Beside the one that held, those that a killed Apply left: the next one, and
	// the one before.
	for _, generation := range []uint32{old.Generation - 1, old.Generation, old.Generation + 1} {
		if err := pd.erase(generation); err != nil {
			return err
		}
	}
	return nil
}

func (pd *pod) holds() (bool, error) {
	if _, err := os.Lstat(filepath.Clean(pd.layout.pod(pd.cookie))); err == nil {
		return true, nil
	}
	err := pd.maps.pods.Lookup(pd.cookie, &podValue{})
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, nil
	}
	return err == nil, err
}

// full says what a full map means: the pod is not captured, and must not start.
func full(err error) error {
	if errors.Is(err, ebpf.ErrMapIncompatible) {
		return fmt.Errorf("%w (programs of another version are loaded)", err)
	}
	if isFull(err) {
		return fmt.Errorf("%w (the node's maps are full; entries of deleted pods are collected by its agent)", err)
	}
	return hint(err)
}
