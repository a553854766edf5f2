// SPDX-License-Identifier: Apache-2.0

// Package debian gets programs of Debian packages for tests and benchmarks. What
// the host has is used; what it lacks is unpacked into a cache: nothing on the
// host is installed, replaced, removed or started.
package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Program is one of a package.
type Program struct {
	Name    string
	Package string
	// Version is what is asked for first; an archive that has replaced it gives
	// its own.
	Version string
	Path    string // in the package
}

// Tool is a program that can be run, and what it needs in its environment.
type Tool struct {
	Path string
	Env  []string
}

// Programs returns the tools by name. Packages that are missing are downloaded
// with what they depend on, and unpacked below dir. note hears of what takes
// time.
func Programs(ctx context.Context, dir string, programs []Program, note func(string)) (map[string]Tool, error) {
	tools := map[string]Tool{}
	var missing []Program
	for _, p := range programs {
		if path, err := exec.LookPath(p.Name); err == nil {
			tools[p.Name] = Tool{Path: path}
		} else if path, err := exec.LookPath("/usr/sbin/" + p.Name); err == nil {
			tools[p.Name] = Tool{Path: path} // not in every user's PATH
		} else {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return tools, nil
	}
	root := filepath.Join(dir, "debian")
	if slices.ContainsFunc(missing, func(p Program) bool { return !executable(filepath.Join(root, p.Path)) }) {
		note("downloading packages: " + names(missing))
		if err := unpack(ctx, root, missing, note); err != nil {
			return tools, err
		}
	}
	libraries, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu"))
	if err != nil {
		return tools, err
	}
	env := []string{"LD_LIBRARY_PATH=" + strings.Join(libraries, ":")}
	for _, p := range missing {
		tools[p.Name] = Tool{Path: filepath.Join(root, p.Path), Env: env}
	}
	return tools, nil
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o111 != 0
}

func names(all []Program) string {
	var out []string
	for _, p := range all {
		out = append(out, p.Package)
	}
	return strings.Join(out, " ")
}

// unpack makes root anew, beside, and then moves it into place: a run that is
// killed here leaves nothing that looks whole.
func unpack(ctx context.Context, root string, missing []Program, note func(string)) error {
	beside := root + ".part"
	archives := filepath.Join(beside, "archives")
	if err := errors.Join(os.RemoveAll(beside), os.MkdirAll(filepath.Join(archives, "partial"), 0o755)); err != nil {
		return fmt.Errorf("make cache of packages: %w", err)
	}
	if err := download(ctx, archives, missing, note); err != nil {
		return err
	}
	packages, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err != nil {
		return err
	}
	for _, p := range packages {
		if err := run(ctx, "dpkg", "-x", p, beside); err != nil {
			return err
		}
	}
	if err := errors.Join(os.RemoveAll(archives), os.RemoveAll(root), os.Rename(beside, root)); err != nil {
		return fmt.Errorf("put packages into place: %w", err)
	}
	return nil
}

// download asks for the pinned versions, then for those that the archive has,
// then for those that it has after a look at its lists.
func download(ctx context.Context, archives string, missing []Program, note func(string)) error {
	var pinned, current []string
	for _, p := range missing {
		pinned = append(pinned, p.Package+"="+p.Version)
		current = append(current, p.Package)
	}
	if aptDownload(ctx, archives, pinned) == nil {
		return nil
	}
	note("the archive does not have all pinned versions; taking its own")
	if aptDownload(ctx, archives, current) == nil {
		return nil
	}
	if err := run(ctx, "apt-get", "update", "-qq"); err != nil {
		return fmt.Errorf("%w (run it as root, or install these yourself: %s)", err, strings.Join(current, " "))
	}
	if aptDownload(ctx, archives, pinned) == nil {
		return nil
	}
	return aptDownload(ctx, archives, current)
}

// aptDownload gets packages and what of their dependencies the host lacks. It
// takes no lock, since it changes nothing of the host.
func aptDownload(ctx context.Context, archives string, packages []string) error {
	args := []string{
		"install", "--download-only", "-qq", "-y", "--no-install-recommends",
		"-o", "Debug::NoLocking=1", "-o", "Dir::Cache::archives=" + archives,
	}
	return run(ctx, "apt-get", append(args, packages...)...)
}

// limit bounds what talks to an archive.
const limit = 5 * time.Minute

func run(ctx context.Context, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("run %s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
