// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/shuntmesh/shunt/cni/install/conflist"
)

// errChanged is a file that is another than the one that a step was planned for.
var errChanged = errors.New("it was changed meanwhile")

// readFolder reads the files of the folder that are wanted, except temporary ones
// of ours. A folder that is missing is one without files.
func readFolder(dir string, wanted func(name string) bool) ([]conflist.File, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the folder of CNI configurations: %w", err)
	}
	var files []conflist.File
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), tempPrefix) || !wanted(e.Name()) {
			continue
		}
		f := conflist.File{Name: e.Name()}
		switch {
		case e.Type().IsRegular():
			f.Content, f.Mode, f.Problem = readFile(filepath.Join(dir, e.Name()))
			if errors.Is(f.Problem, fs.ErrNotExist) {
				continue // gone since the folder was read
			}
		case e.Type()&fs.ModeSymlink != 0:
			// Where it leads to is another place on the node than here.
			f.Problem = fmt.Errorf("%w: it is a symbolic link (put the file itself in its place)", conflist.ErrUnsupported)
		default:
			f.Problem = errors.New("it is no regular file")
		}
		files = append(files, f)
	}
	return files, nil
}

// readFile reads a configuration, up to the size that one may have.
func readFile(path string) (content []byte, mode fs.FileMode, err error) {
	// Not to wait, should it be a pipe by now.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if content, err = io.ReadAll(io.LimitReader(f, conflist.MaxSize+1)); err != nil {
		return nil, 0, err
	}
	if len(content) > conflist.MaxSize {
		return nil, 0, fmt.Errorf("%w: it is larger than %d bytes", conflist.ErrUnsupported, conflist.MaxSize)
	}
	return content, info.Mode().Perm(), nil
}

// perform does the steps in their order. It stops at the first that can't be done,
// with errChanged where somebody else was faster.
func perform(dir string, steps []conflist.Step) error {
	for _, s := range steps {
		if err := performOne(dir, s); err != nil {
			return fmt.Errorf("change %s: %w", filepath.Join(dir, s.Name), err)
		}
	}
	return nil
}

func performOne(dir string, s conflist.Step) error {
	path := filepath.Join(dir, s.Name)
	if err := unchanged(path, s.Was); err != nil {
		return err
	}
	switch s.Do {
	case conflist.Put:
		return replace(dir, s.Mode, bytes.NewReader(s.Content), func(temp string) error { return swap(temp, path, s.Content, s.Was) })
	case conflist.Move:
		if err := moveAside(path, filepath.Join(dir, s.To), s.Was); err != nil {
			return err
		}
	case conflist.Remove:
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return syncFile(dir)
}

// unchanged holds that a file is what it was when the step was planned; nil is no
// file.
func unchanged(path string, was []byte) error {
	now, _, err := readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if was == nil {
			return nil
		}
		return errChanged
	case err != nil:
		return err
	case was == nil || !bytes.Equal(now, was):
		return errChanged
	default:
		return nil
	}
}
