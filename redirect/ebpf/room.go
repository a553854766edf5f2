// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"

	"github.com/vishvananda/netlink"

	"github.com/shuntmesh/shunt/redirect/netns"
)

// room is a network namespace for a test. It is gone when it is closed.
type room struct{ file *os.File }

// newRooms makes two that are joined by a link.
func newRooms(one, other netip.Prefix) (a, b *room, err error) {
	if a, err = newRoom(); err != nil {
		return nil, nil, err
	}
	if b, err = newRoom(); err != nil {
		a.close()
		return nil, nil, err
	}
	err = a.do(func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: roomLink}, PeerName: roomLink, PeerNamespace: netlink.NsFd(b.file.Fd()),
		})
	})
	if err == nil {
		err = errors.Join(a.do(func() error { return address(one) }), b.do(func() error { return address(other) }))
	}
	if err != nil {
		a.close()
		b.close()
		return nil, nil, fmt.Errorf("join namespaces: %w", err)
	}
	return a, b, nil
}

const roomLink = "eth0"

func newRoom() (*room, error) {
	r := &room{}
	err := netns.Throwaway(func() (err error) {
		if r.file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return fmt.Errorf("hold network namespace: %w", err)
		}
		return up("lo")
	})
	if err != nil {
		if r.file != nil {
			r.close()
		}
		return nil, err
	}
	return r, nil
}

func address(own netip.Prefix) error {
	l, err := netlink.LinkByName(roomLink)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(own.String())
	if err != nil {
		return err
	}
	return errors.Join(netlink.AddrAdd(l, addr), up(roomLink))
}

func up(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// do calls f inside the room.
func (r *room) do(f func() error) error {
	return netns.In("/proc/self/fd/"+strconv.Itoa(int(r.file.Fd())), f)
}

func (r *room) close() { _ = r.file.Close() }
