// SPDX-License-Identifier: Apache-2.0

package install

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/shuntmesh/shunt/internal/contract"
)

// binaryMode lets the runtime execute the plugin, whoever it runs as.
const binaryMode fs.FileMode = 0o755

// binary is the plugin's program, and where it has to be. Its methods are for one
// goroutine.
type binary struct {
	source, dir string
	want        *digest   // of source; nil before it was read
	seen        signature // of a file that was found to be right
}

type digest [sha256.Size]byte

// signature changes whenever a file's content may have.
type signature struct {
	dev, inode uint64
	size       int64
	changed    syscall.Timespec // status change: no program can set it back
}

func (b *binary) path() string { return filepath.Join(b.dir, contract.PluginBinary) }

// right reports whether the program is in place with the source's content. It
// reads the file only where its signature is new.
func (b *binary) right() (bool, error) {
	info, err := os.Lstat(b.path())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the plugin: %w", err)
	}
	if info.Mode() != binaryMode {
		return false, nil // a link, say, or not executable
	}
	found := signatureOf(info)
	if found == b.seen {
		return true, nil
	}
	want, err := b.wanted()
	if err != nil {
		return false, err
	}
	got, err := hash(b.path())
	if err != nil || got != *want {
		return false, err
	}
	b.seen = found
	return true, nil
}

// write puts the source in place. The runtime may be executing the plugin
// meanwhile: it goes on with the file that it has opened.
func (b *binary) write() error {
	want, err := b.wanted()
	if err != nil {
		return err
	}
	source, err := os.Open(b.source)
	if err != nil {
		return fmt.Errorf("read the plugin to install: %w", err)
	}
	defer source.Close()
	err = replace(b.dir, binaryMode, source, func(temp string) error {
		got, err := hash(temp)
		if err != nil {
			return err
		}
		if got != *want {
			return fmt.Errorf("the copy of %s came out differently (is the disk all right?)", b.source)
		}
		return os.Rename(temp, b.path())
	})
	if err != nil {
		return fmt.Errorf("install the plugin: %w", err)
	}
	return nil
}

// wanted reads the source once: it is part of an image, and so doesn't change.
func (b *binary) wanted() (*digest, error) {
	if b.want == nil {
		d, err := hash(b.source)
		if err != nil {
			return nil, fmt.Errorf("read the plugin to install: %w", err)
		}
		b.want = &d
	}
	return b.want, nil
}

func hash(path string) (d digest, err error) {
	f, err := os.Open(path)
	if err != nil {
		return d, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return d, fmt.Errorf("read %s: %w", path, err)
	}
	return digest(h.Sum(nil)), nil
}

func signatureOf(info fs.FileInfo) signature {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return signature{}
	}
	return signature{dev: st.Dev, inode: st.Ino, size: st.Size, changed: st.Ctim}
}
