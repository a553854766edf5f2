// SPDX-License-Identifier: Apache-2.0

// Package install gets the programs that a run needs. What the host has is
// used; what it lacks is unpacked into a cache: nothing on the host is replaced,
// removed or started.
package install

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

	"github.com/shuntmesh/shunt/test/bench/load"
	"github.com/shuntmesh/shunt/test/bench/process"
)

// debian is a program of a Debian package. The version is what the goals were
// set against; an archive that has replaced it gives its own, and the results
// name the one that ran.
type debian struct {
	program, pkg, version string
	path                  string // in the package
}

func debians() []debian {
	return []debian{
		{"haproxy", "haproxy", "2.6.12-1+deb12u4", "usr/sbin/haproxy"},
		{"nginx", "nginx", "1.22.1-9+deb12u11", "usr/sbin/nginx"},
		{"h2load", "nghttp2-client", "1.52.0-1+deb12u3", "usr/bin/h2load"},
		{"wrk", "wrk", "4.1.0-3+b2", "usr/bin/wrk"},
		{"iperf3", "iperf3", "3.12-1+deb12u2", "usr/bin/iperf3"},
	}
}

// downloadLimit bounds what talks to an archive.
const downloadLimit = 5 * time.Minute

// Debian returns the programs of Debian packages. Packages that are missing are
// downloaded with what they depend on, and unpacked below dir.
func Debian(ctx context.Context, dir string, note func(string)) (map[string]load.Tool, error) {
	tools := map[string]load.Tool{}
	var missing []debian
	for _, d := range debians() {
		if path, err := exec.LookPath(d.program); err == nil {
			tools[d.program] = load.Tool{Path: path}
		} else if path, err := exec.LookPath("/usr/sbin/" + d.program); err == nil {
			tools[d.program] = load.Tool{Path: path} // not in every user's PATH
		} else {
			missing = append(missing, d)
		}
	}
	if len(missing) == 0 {
		return tools, nil
	}
	root := filepath.Join(dir, "debian")
	if slices.ContainsFunc(missing, func(d debian) bool { return !executable(filepath.Join(root, d.path)) }) {
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
	for _, d := range missing {
		tools[d.program] = load.Tool{Path: filepath.Join(root, d.path), Env: env}
	}
	return tools, nil
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o111 != 0
}

func names(all []debian) string {
	var out []string
	for _, d := range all {
		out = append(out, d.pkg)
	}
	return strings.Join(out, " ")
}

// unpack makes root anew, beside, and then moves it into place: a run that is
// killed here leaves nothing that looks whole.
func unpack(ctx context.Context, root string, missing []debian, note func(string)) error {
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
		if _, err := process.Output(ctx, downloadLimit, process.Spec{Name: "dpkg", Path: "dpkg", Args: []string{"-x", p, beside}}); err != nil {
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
func download(ctx context.Context, archives string, missing []debian, note func(string)) error {
	var pinned, current []string
	for _, d := range missing {
		pinned = append(pinned, d.pkg+"="+d.version)
		current = append(current, d.pkg)
	}
	if aptDownload(ctx, archives, pinned) == nil {
		return nil
	}
	note("the archive does not have all pinned versions; taking its own")
	if aptDownload(ctx, archives, current) == nil {
		return nil
	}
	update := process.Spec{Name: "apt-get", Path: "apt-get", Args: []string{"update", "-qq"}}
	if _, err := process.Output(ctx, downloadLimit, update); err != nil {
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
	_, err := process.Output(ctx, downloadLimit, process.Spec{Name: "apt-get", Path: "apt-get", Args: append(args, packages...)})
	return err
}
