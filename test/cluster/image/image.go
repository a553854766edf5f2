// SPDX-License-Identifier: Apache-2.0

// Package image packs static binaries into container images, as the tarballs that `docker save` makes. It needs no registry
// and no container runtime.
package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Pack writes an image of one program to the file out. The program becomes /<its file name> and the entry point.
func Pack(out, reference, program string) error {
	tag, err := name.NewTag(reference)
	if err != nil {
		return fmt.Errorf("pack an image: %w", err)
	}
	entry := "/" + filepath.Base(program)
	text, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("pack %s: %w", reference, err)
	}
	content, err := layer(entry, text)
	if err != nil {
		return fmt.Errorf("pack %s: %w", reference, err)
	}
	img, err := assemble(entry, content)
	if err != nil {
		return fmt.Errorf("pack %s: %w", reference, err)
	}
	if err := tarball.WriteToFile(out+".half", tag, img); err != nil {
		return fmt.Errorf("pack %s: %w", reference, err)
	}
	if err := os.Rename(out+".half", out); err != nil {
		return fmt.Errorf("pack %s: %w", reference, err)
	}
	return nil
}

func assemble(entry string, content []byte) (v1.Image, error) {
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Entrypoint = []string{entry}
	return mutate.ConfigFile(img, config)
}

// layer is a file system with the program and the few directories that a container expects; all times are zero, so the same
// program makes the same image.
func layer(entry string, program []byte) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, dir := range []string{"dev", "etc", "proc", "sys", "tmp"} {
		header := &tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}
		if dir == "tmp" {
			header.Mode = 0o1777
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(entry, "/"), Mode: 0o755, Size: int64(len(program))}
	if err := w.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
