// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// isFull reports whether a map had no room, or the kernel no memory.
func isFull(err error) bool { return errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOMEM) }

// attached is what the pinned link of a pod says.
type attached uint8

const (
	missing attached = iota // there is none
	defunct                 // its namespace is gone
	elsewhere
	here
)

// String returns the state as a Difference has it.
func (a attached) String() string {
	return [...]string{"no link", "a link to a namespace that is gone", "a link to another namespace", "a link to this namespace"}[a]
}

// linked says how the pod's link stands.
func (pd *pod) linked() (attached, error) {
	inode, err := linkedInode(pd.layout.pod(pd.cookie))
	if errors.Is(err, fs.ErrNotExist) {
		return missing, nil
	}
	if err != nil {
		return missing, err
	}
	var own unix.Stat_t
	if err := unix.Fstat(int(pd.netns.Fd()), &own); err != nil {
		return missing, fmt.Errorf("inspect namespace: %w", err)
	}
	switch uint64(inode) {
	case 0:
		return defunct, nil
	case own.Ino:
		return here, nil
	default:
		return elsewhere, nil
	}
}

// linkedInode returns the inode of the namespace that a pinned link is attached
// to; 0 where that is gone.
func linkedInode(path string) (uint32, error) {
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return 0, fmt.Errorf("open link %s: %w", path, hint(err))
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return 0, fmt.Errorf("inspect link %s: %w", path, hint(err))
	}
	netns := info.NetNs()
	if netns == nil {
		return 0, fmt.Errorf("inspect link %s: it is of kind %v, want one of a network namespace", path, info.Type)
	}
	return netns.NetnsInode, nil
}

// attach makes sure that what arrives in the namespace is looked up by us.
func (pd *pod) attach() error {
	state, err := pd.linked()
	if err != nil || state == here {
		return err
	}
	if err := pd.detach(); err != nil {
		return err
	}
	stub, err := newStub(pd.maps, pd.cookie)
	if err != nil {
		return err
	}
	defer stub.Close()
	l, err := link.AttachNetNs(int(pd.netns.Fd()), stub)
	if err != nil {
		return fmt.Errorf("attach to the network namespace: %w", hint(err))
	}
	defer l.Close()
	if err := l.Pin(pd.layout.pod(pd.cookie)); err != nil {
		return fmt.Errorf("pin the pod's link: %w", hint(err))
	}
	return nil
}

// detach ends the pod's link, if there is one.
func (pd *pod) detach() error {
	if err := os.Remove(pd.layout.pod(pd.cookie)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpin the pod's link: %w", err)
	}
	return nil
}
