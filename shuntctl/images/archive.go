// SPDX-License-Identifier: Apache-2.0

package images

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// tagged is a packed image under its name.
type tagged struct {
	tag    name.Tag
	img    v1.Image
	digest string
}

func pack(s Spec, binDir string) (tagged, error) {
	tag, err := name.NewTag(s.Ref(""))
	if err != nil {
		return tagged{}, fmt.Errorf("name image %s: %w", s.Name, err)
	}
	img, err := Pack(s, binDir)
	if err != nil {
		return tagged{}, err
	}
	digest, err := img.Digest()
	if err != nil {
		return tagged{}, fmt.Errorf("hash image %s: %w", s.Name, err)
	}
	return tagged{tag: tag, img: img, digest: digest.String()}, nil
}

// writeFile writes beside the target and renames, so that a reader never sees
// half an image.
func writeFile(path string, imgs ...tagged) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write image file: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // after the rename there is nothing left to remove
	err = writeArchive(tmp, imgs)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if errClose := tmp.Close(); err == nil {
		err = errClose
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write image file %s: %w", path, err)
	}
	return nil
}

// archived is one image in manifest.json of the `docker save` format.
type archived struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// writeArchive writes images in the order given: go-containerregistry's own
// writer goes through a map, so its files differ from run to run.
func writeArchive(w io.Writer, imgs []tagged) error {
	tw := tar.NewWriter(w)
	var manifest []archived
	for _, i := range imgs {
		a, err := writeImage(tw, i)
		if err != nil {
			return err
		}
		manifest = append(manifest, a)
	}
	body, err := json.Marshal(manifest)
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	if err := writeEntry(tw, "manifest.json", body); err != nil {
		return err
	}
	return tw.Close()
}

func writeImage(tw *tar.Writer, i tagged) (archived, error) {
	config, err := i.img.RawConfigFile()
	if err != nil {
		return archived{}, fmt.Errorf("read config: %w", err)
	}
	id, err := i.img.ConfigName()
	if err != nil {
		return archived{}, fmt.Errorf("hash config: %w", err)
	}
	a := archived{Config: id.Hex + ".json", RepoTags: []string{i.tag.String()}}
	if err := writeEntry(tw, a.Config, config); err != nil {
		return archived{}, err
	}
	layers, err := i.img.Layers()
	if err != nil {
		return archived{}, fmt.Errorf("read layers: %w", err)
	}
	for _, l := range layers {
		file, err := writeLayer(tw, l)
		if err != nil {
			return archived{}, err
		}
		a.Layers = append(a.Layers, file)
	}
	return a, nil
}

func writeLayer(tw *tar.Writer, l v1.Layer) (file string, err error) {
	digest, err := l.Digest()
	if err != nil {
		return "", fmt.Errorf("hash layer: %w", err)
	}
	r, err := l.Compressed()
	if err != nil {
		return "", fmt.Errorf("read layer: %w", err)
	}
	defer func() { _ = r.Close() }() // a reader over memory
	body, err := io.ReadAll(r)
	if err != nil {
		return "", fmt.Errorf("read layer: %w", err)
	}
	file = digest.Hex + ".tar.gz"
	return file, writeEntry(tw, file, body)
}

func writeEntry(tw *tar.Writer, name string, body []byte) error {
	h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(body)), Typeflag: tar.TypeReg, ModTime: epoch(), Format: tar.FormatPAX}
	if err := tw.WriteHeader(h); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if _, err := tw.Write(body); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
