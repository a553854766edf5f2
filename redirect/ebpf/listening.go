// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// The layout of bpf/listening.h. A roll is the count of all who listen in a pod.
// Each Apply takes a new one under the other number, while the one before is
// still asked and kept.

// roll is 1 or 2; 0 where nobody asks who listens.
type roll uint8

// other returns the number of the roll that follows.
func (r roll) other() roll {
	if r == 1 {
		return 2
	}
	return 1
}

// ear is where sockets listen. One without a port is the roll itself.
type ear struct {
	Netns    uint64
	Addr     wide
	Device   uint32
	Port     uint16
	Roll     roll
	Reserved uint8
}

// heard is how many do.
type heard struct {
	Lock, Sockets, Gone, Ears uint32
	ID                        uint64
}

// everywhere is the address of those who listen at [::], and for IPv4 too.
func everywhere() wide { return wide{^uint64(0), ^uint64(0)} }

// String returns such as "*:8080", "[::1]:8080" or "10.0.0.1:8080 on interface 2".
func (e ear) String() string {
	text := fmt.Sprintf("*:%d", e.Port)
	if e.Addr != everywhere() {
		text = netip.AddrPortFrom(e.Addr.addr(), e.Port).String()
	}
	if e.Device != 0 {
		text += fmt.Sprintf(" on interface %d", e.Device)
	}
	return text
}

// startRoll makes room for a roll that follows the one that is asked; for none
// where nobody will ask. Nothing is in it that an Apply left which was killed.
func (pd *pod) startRoll(old podValue, next roll) error {
	if old.Kept != old.Asked {
		old.Kept = old.Asked
		if err := pd.set(old); err != nil {
			return err
		}
		time.Sleep(grace)
	}
	if err := pd.dropRolls(old.Asked); err != nil || next == 0 {
		return err
	}
	id, err := sinceBoot()
	if err != nil {
		return err
	}
	if err := pd.maps.listening.Put(ear{Netns: pd.cookie, Roll: next}, heard{ID: id}); err != nil {
		return fmt.Errorf("write who listens: %w", full(err))
	}
	return nil
}

// sinceBoot returns nanoseconds, which no two rolls of a namespace share: they
// are taken one after the other.
func sinceBoot() (uint64, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, fmt.Errorf("read clock: %w", err)
	}
	return uint64(now.Nano()), nil
}

// dropRolls erases who listens in the pod, but for one roll.
func (pd *pod) dropRolls(but roll) error {
	rolls, err := pd.rolls()
	if err != nil {
		return err
	}
	for e := range rolls {
		if e.Roll == but {
			continue
		}
		if err := pd.maps.listening.Delete(e); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("erase who listens: %w", hint(err))
		}
	}
	return nil
}

// earsAtOnce is more than there are in one bucket of the map, which is the least
// that the kernel hands over.
const earsAtOnce = 1024

// rolls reads all that is counted in the pod.
func (pd *pod) rolls() (map[ear]heard, error) {
	out := map[ear]heard{}
	keys, values := make([]ear, earsAtOnce), make([]heard, earsAtOnce)
	var at ebpf.MapBatchCursor
	for {
		n, err := pd.maps.listening.BatchLookup(&at, keys, values, nil)
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !last {
			return nil, fmt.Errorf("read who listens: %w", hint(err))
		}
		for i, e := range keys[:n] {
			if e.Netns == pd.cookie {
				out[e] = values[i]
			}
		}
		if last {
			return out, nil
		}
	}
}
