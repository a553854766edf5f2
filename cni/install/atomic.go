// SPDX-License-Identifier: Apache-2.0

package install

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/shuntmesh/shunt/internal/contract"
)

// tempPrefix begins the names of our temporary files. What follows ends in nothing
// that a runtime loads.
const tempPrefix = "." + contract.PluginBinary + ".tmp-"

// replace puts content into the folder, whole or not at all: when it returns nil,
// the new file is there and will be after a power cut. Place is given the finished
// temporary file and renames it.
func replace(dir string, mode fs.FileMode, content io.Reader, place func(temp string) error) error {
	temp, err := writeTemp(dir, mode, content)
	if err != nil {
		return fmt.Errorf("write into %s: %w", dir, withoutPath(err))
	}
	if err = syncFile(temp); err == nil {
		err = place(temp)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write into %s: %w", dir, withoutPath(err)), removeIfThere(temp))
	}
	return syncFile(dir)
}

// withoutPath leaves the name of a temporary file out of an error, so that the
// same error reads the same each time.
func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("%s: %w", p.Op, p.Err)
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return fmt.Errorf("%s: %w", l.Op, l.Err)
	}
	return err
}

// writeTemp writes a new temporary file and closes it, with no child forked
// meanwhile that would hold it open for writing.
func writeTemp(dir string, mode fs.FileMode, content io.Reader) (path string, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, removeIfThere(f.Name()))
	}
	return f.Name(), nil
}

// syncFile makes a file, or the names of a folder, outlive a power cut.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// sweep removes the temporary files that a killed install left in the folder.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for temporary files: %w", err)
	}
	var problems []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			problems = append(problems, removeIfThere(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(problems...)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
