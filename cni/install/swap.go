// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// swap puts the temporary file, which holds ours, in the place of one that holds
// was, or of none where that is nil. It returns errChanged where somebody else wrote
// the file meanwhile: then theirs is in place. Nothing that others wrote is lost,
// since the two files change places in one step, and what comes out is looked at.
func swap(temp, path string, ours, was []byte) error {
	if was == nil {
		err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EEXIST) {
			return errChanged
		}
		return orRename(err, temp, path)
	}
	var result error
	for in, expected := ours, was; ; result = errChanged {
		err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
		switch {
		case errors.Is(err, unix.ENOENT):
			return errChanged // removed, and so it stays
		case err != nil:
			return orRename(err, temp, path)
		}
		out, _, err := readFile(temp)
		if err != nil {
			return err
		}
		if bytes.Equal(out, expected) {
			return errors.Join(result, removeIfThere(temp))
		}
		// What came out is newer than what went in, so it has to go back.
		in, expected = out, in
	}
}

// orRename renames in the ordinary way where the file system knows no other.
func orRename(err error, temp, path string) error {
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return os.Rename(temp, path)
	}
	return err
}

// moveAside renames a file that holds was, and back if it turns out to hold
// something else.
func moveAside(path, to string, was []byte) error {
	if err := os.Rename(path, to); err != nil {
		return err
	}
	now, _, err := readFile(to)
	if err != nil || bytes.Equal(now, was) {
		return err
	}
	back := unix.Renameat2(unix.AT_FDCWD, to, unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	if errors.Is(back, unix.EEXIST) {
		return errChanged // there is one that is newer still
	}
	return errors.Join(errChanged, orRename(back, to, path))
}
