// SPDX-License-Identifier: Apache-2.0

package conflist

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// MaxSize bounds what is read of a file, in bytes. Configurations have a few
// kilobytes.
const MaxSize = 1 << 20

// ErrNoConfig is a folder without a configuration that a runtime could use: no CNI
// is installed yet.
var ErrNoConfig = errors.New("there is no CNI configuration yet")

// ErrUnsupported is a configuration that the runtime uses and that our plugin
// can't be chained into.
var ErrUnsupported = errors.New("can't be chained into")

// File is an entry of the folder that is no directory.
type File struct {
	Name    string
	Mode    fs.FileMode // permission bits
	Content []byte      // whole, if Problem is nil
	// Problem says why there is no Content: unreadable, for the runtime as well;
	// or ErrUnsupported.
	Problem error
}

// Skipped is a file that no runtime can load, and why.
type Skipped struct {
	Name   string
	Reason error
}

// choice is the configuration that the runtime uses.
type choice struct {
	file    File
	text    []byte // as a list
	skipped []Skipped
}

// dir is the folder, by name.
type dir struct {
	files map[string]File
	names []string // of the configurations, in the order of the runtimes
}

func newDir(files []File) dir {
	d := dir{files: make(map[string]File, len(files))}
	for _, f := range files {
		d.files[f.Name] = f
		if Loads(f.Name) {
			d.names = append(d.names, f.Name)
		}
	}
	slices.Sort(d.names)
	return d
}

// Loads reports whether runtimes load a file of this name.
func Loads(name string) bool {
	switch path.Ext(name) {
	case ".conf", ".conflist", ".json":
		return true
	default:
		return false
	}
}

// Relevant reports whether a file of this name matters to Install: runtimes load
// it, or it was saved by us.
func Relevant(name string) bool {
	return Loads(name) || strings.HasSuffix(name, savedSuffix)
}

// choose finds the file that the runtime uses. Network, if not empty, is the name
// of the one network that counts.
func (d dir) choose(network string) (choice, error) {
	var c choice
	for _, name := range d.names {
		f := d.files[name]
		text, networkName, err := f.list()
		switch {
		case errors.Is(err, ErrUnsupported) && networkName == "":
			return c, fmt.Errorf("%s %w", name, err)
		case err != nil && !errors.Is(err, ErrUnsupported):
			c.skipped = append(c.skipped, Skipped{name, err})
		case network != "" && networkName != network:
		case err != nil:
			return c, fmt.Errorf("%s %w", name, err)
		default:
			c.file, c.text = f, text
			return c, nil
		}
	}
	if network != "" {
		return c, fmt.Errorf("%w of the network %q", ErrNoConfig, network)
	}
	return c, ErrNoConfig
}

// list returns the file as a list, and the network's name. ErrUnsupported is a
// file that the runtime loads all the same.
func (f File) list() (text []byte, network string, err error) {
	if f.Problem != nil {
		return nil, "", f.Problem
	}
	text = f.Content
	if isSingle(f.Name) {
		if text, err = convert(f.Content); err != nil {
			return nil, "", err
		}
	}
	l, err := parse(text)
	if err != nil {
		return nil, "", err
	}
	return text, l.name, checkVersion(text)
}
