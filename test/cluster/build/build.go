// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/shuntmesh/shunt/test/cluster/command"
	"github.com/shuntmesh/shunt/test/cluster/progress"
)

// FindSource returns the source directory of this module: dir itself, a parent of it, or the folder test/cluster in one of
// those.
func FindSource(dir string) (string, error) {
	for at := dir; ; at = filepath.Dir(at) {
		for _, candidate := range []string{at, filepath.Join(at, "test", "cluster")} {
			if _, err := os.Stat(filepath.Join(candidate, "tools", "kubernetes", "go.mod")); err == nil {
				return candidate, nil
			}
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("find the pinned modules above %s: none (run inside the repository, or say -source .../test/cluster)", dir)
		}
	}
}

// CacheDir is where binaries are kept between clusters.
func CacheDir() (string, error) {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find the cache directory: %w (set XDG_CACHE_HOME)", err)
		}
		cache = filepath.Join(home, ".cache")
	}
	return filepath.Join(cache, "shunt-cluster", "bin"), nil
}

// Dir returns the directory of the binaries that belong to the modules in source: its name is a hash of everything that
// decides what is built.
func Dir(ctx context.Context, source, cache string) (string, error) {
	version, err := command.Run(ctx, "go", "env", "GOVERSION", "GOARCH")
	if err != nil {
		return "", fmt.Errorf("find the go command: %w", err)
	}
	hash, err := fingerprint(os.DirFS(source), version)
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, hash), nil
}

// fingerprint hashes the Go version, the table of tools, and the modules and programs of the source tree.
func fingerprint(source fs.FS, version string) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%+v\n", version, Tools())
	for _, root := range []string{"pause", "tools"} {
		err := fs.WalkDir(source, root, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !hashed(name) {
				return err
			}
			f, err := source.Open(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(sum, "%s\n", name)
			_, err = io.Copy(sum, f)
			return errors.Join(err, f.Close())
		})
		if err != nil {
			return "", fmt.Errorf("hash the pinned modules: %w", err)
		}
	}
	return fmt.Sprintf("%x", sum.Sum(nil)[:8]), nil
}

func hashed(name string) bool {
	return strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "go.mod") || strings.HasSuffix(name, "go.sum")
}

// Missing returns the tools that dir doesn't hold yet.
func Missing(dir string) []Tool {
	var missing []Tool
	for _, tool := range Tools() {
		if _, err := os.Stat(filepath.Join(dir, tool.Name)); err != nil {
			missing = append(missing, tool)
		}
	}
	return missing
}

// All builds what is missing in dir, one tool after the other. A build that is broken off goes on where it stopped.
func All(ctx context.Context, source, dir string, p *progress.Printer) error {
	if len(Missing(dir)) == 0 {
		return nil
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	missing := Missing(dir)
	for i, tool := range missing {
		title := fmt.Sprintf("build %s (%d of %d)", tool.Name, i+1, len(missing))
		if err := p.Step(title, func() error { return tool.build(ctx, source, dir) }); err != nil {
			return err
		}
	}
	return nil
}

// build builds one tool beside its place and then renames it, so that a binary in the cache is always whole.
func (t Tool) build(ctx context.Context, source, dir string) error {
	half := filepath.Join(dir, "."+t.Name+".half")
	_, err := command.Command{
		Args: append([]string{"go"}, t.arguments(half)...),
		Dir:  filepath.Join(source, t.Module),
		Env:  t.environment(),
	}.Run(ctx)
	if err != nil {
		return fmt.Errorf("build %s: %w", t.Name, err)
	}
	if err := os.Rename(half, filepath.Join(dir, t.Name)); err != nil {
		return fmt.Errorf("keep %s: %w", t.Name, err)
	}
	return nil
}

// lock waits until no other process builds into dir.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the cache of binaries: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the cache of binaries: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the cache of binaries: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}
