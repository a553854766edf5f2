// SPDX-License-Identifier: Apache-2.0

package images

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// file is one entry of an image's only layer. Without body and link it is a
// directory.
type file struct {
	path string
	mode int64
	body []byte
	link string // of a symbolic link: where it points
}

// Pack builds the image of s from the binaries in binDir. It refuses a missing
// binary, one that is not ELF, one that needs a dynamic loader (the image has
// none), and binaries of different architectures.
func Pack(s Spec, binDir string) (v1.Image, error) {
	files := base(s)
	if s.IPTables {
		more, err := hostIPTables("/")
		if err != nil {
			return nil, fmt.Errorf("pack image %s: %w", s.Name, err)
		}
		files = append(files, slices.DeleteFunc(more, func(f file) bool {
			return slices.ContainsFunc(files, func(there file) bool { return there.path == f.path })
		})...)
	}
	arch := ""
	for _, name := range s.Binaries {
		body, binArch, err := readBinary(filepath.Join(binDir, name))
		if err != nil {
			return nil, err
		}
		if arch != "" && arch != binArch {
			return nil, fmt.Errorf("pack image %s: %s is built for %s, the others for %s (build all for one architecture)", s.Name, name, binArch, arch)
		}
		arch = binArch
		files = append(files, file{path: "usr/local/bin/" + name, mode: 0o755, body: body})
	}
	layer, err := newLayer(files)
	if err != nil {
		return nil, fmt.Errorf("pack image %s: %w", s.Name, err)
	}
	return assemble(s, arch, layer)
}

// base is what every image holds.
func base(s Spec) []file {
	return []file{
		{path: "etc/", mode: 0o755},
		{path: "etc/passwd", mode: 0o644, body: []byte(passwd(s.UID))},
		{path: "etc/group", mode: 0o644, body: []byte(group(s.UID))},
		{path: "tmp/", mode: 0o1777},
		{path: "usr/", mode: 0o755},
		{path: "usr/local/", mode: 0o755},
		{path: "usr/local/bin/", mode: 0o755},
	}
}

func assemble(s Spec, arch string, layer v1.Layer) (v1.Image, error) {
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, fmt.Errorf("add layer to image %s: %w", s.Name, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read config of image %s: %w", s.Name, err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	config.Created = v1.Time{Time: epoch()}
	config.Config = v1.Config{
		Env:        []string{"PATH=/usr/local/bin"},
		User:       fmt.Sprintf("%d:%d", s.UID, s.UID),
		Entrypoint: s.Command,
		WorkingDir: "/",
	}
	img, err = mutate.ConfigFile(img, config)
	if err != nil {
		return nil, fmt.Errorf("write config of image %s: %w", s.Name, err)
	}
	return img, nil
}

// epoch is the time of everything that we write: the same binaries have to give
// the same image.
func epoch() time.Time { return time.Unix(0, 0).UTC() }

func newLayer(files []file) (v1.Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Name: f.path, Mode: f.mode, Size: int64(len(f.body)), ModTime: epoch(), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		switch {
		case f.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		case f.body == nil:
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("write header of %s: %w", f.path, err)
		}
		if _, err := w.Write(f.body); err != nil {
			return nil, fmt.Errorf("write %s: %w", f.path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("close layer: %w", err)
	}
	body := buf.Bytes()
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(body)), nil
	})
}

// readBinary returns a static binary and its architecture in Go's words.
func readBinary(path string) (body []byte, arch string, err error) {
	body, err = os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, "", fmt.Errorf("read binary: %w (build it first: make build, or point --bin-dir at the binaries)", err)
	}
	if err != nil {
		return nil, "", fmt.Errorf("read binary: %w", err)
	}
	exe, err := elf.NewFile(bytes.NewReader(body))
	if err != nil {
		return nil, "", fmt.Errorf("read binary %s: %w (a Linux ELF file is needed: build with GOOS=linux)", path, err)
	}
	for _, p := range exe.Progs {
		if p.Type == elf.PT_INTERP {
			return nil, "", fmt.Errorf("binary %s needs a dynamic loader, which the image has not (build with CGO_ENABLED=0)", path)
		}
	}
	switch exe.Machine {
	case elf.EM_X86_64:
		return body, "amd64", nil
	case elf.EM_AARCH64:
		return body, "arm64", nil
	default:
		return nil, "", fmt.Errorf("binary %s is built for %s (supported: amd64, arm64)", path, exe.Machine)
	}
}

func passwd(uid int) string {
	text := "root:x:0:0:root:/:/sbin/nologin\n"
	if uid != 0 {
		text += fmt.Sprintf("shunt:x:%d:%d:shunt:/:/sbin/nologin\n", uid, uid)
	}
	return text
}

func group(gid int) string {
	text := "root:x:0:\n"
	if gid != 0 {
		text += fmt.Sprintf("shunt:x:%d:\n", gid)
	}
	return text
}
