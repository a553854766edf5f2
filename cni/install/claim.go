// SPDX-License-Identifier: Apache-2.0

package install

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/internal/contract"
)

// lockName is the file whose locks agents of a node see of each other.
const lockName = "." + contract.PluginBinary + ".lock"

// claim is an agent's place among those of its node: the lock of byte number of
// the lock file. The kernel drops it when the agent ends.
type claim struct {
	file   *os.File
	number int64
}

// takeClaim takes the place behind the last.
func takeClaim(path string) (*claim, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the agents' lock (the folder of plugins has to be writable; where it isn't root's, that takes CAP_DAC_OVERRIDE): %w", err)
	}
	for {
		last, err := lastLock(f, 1)
		if err == nil {
			err = setLock(f, unix.F_WRLCK, last+1)
		}
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			continue // another took it meanwhile, so there is a new last
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		return &claim{file: f, number: last + 1}, nil
	}
}

// superseded reports whether another agent came later and is alive.
func (c *claim) superseded() (bool, error) {
	last, err := lastLock(c.file, c.number+1)
	return last > 0, err
}

// alone reports whether no other agent is alive.
func (c *claim) alone() (bool, error) {
	last, err := lastLock(c.file, 1) // own locks don't count
	return last == 0, err
}

// stale reports whether the lock file of this name is another by now, so that
// newcomers don't see this claim.
func (c *claim) stale() bool {
	mine, err := c.file.Stat()
	if err != nil {
		return true
	}
	now, err := os.Stat(c.file.Name())
	return err != nil || !os.SameFile(mine, now)
}

// release gives the place up. A child that was being forked can hold the file open
// for a moment longer, and with it a lock that was not unlocked.
func (c *claim) release() error {
	return errors.Join(setLock(c.file, unix.F_UNLCK, c.number), c.file.Close())
}

// lastLock returns the number of the last byte, from the given one on, that
// somebody else has locked; 0 for none.
func lastLock(f *os.File, from int64) (last int64, err error) {
	for {
		query := unix.Flock_t{Type: unix.F_WRLCK, Start: from} // no length: to the end
		if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &query); err != nil {
			return 0, fmt.Errorf("ask for locks: %w", err)
		}
		if query.Type == unix.F_UNLCK {
			return last, nil
		}
		last = query.Start
		from = last + 1
	}
}

func setLock(f *os.File, kind int16, number int64) error {
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: number, Len: 1})
}
