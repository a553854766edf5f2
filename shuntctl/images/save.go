// SPDX-License-Identifier: Apache-2.0

package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Result tells what became of one image.
type Result struct {
	Image  string `json:"image"`          // full name
	Digest string `json:"digest"`         // of the manifest, "sha256:..."
	File   string `json:"file,omitempty"` // tarball, when saved
}

// Save packs the images and writes them in the format of `docker save`. An out
// that ends in ".tar" gets all images in one file; any other is a folder, made
// when missing, that gets one NAME.tar each. Files appear whole or not at all.
func Save(specs []Spec, binDir, out string) ([]Result, error) {
	oneFile := strings.HasSuffix(out, ".tar")
	dir := out
	if oneFile {
		dir = filepath.Dir(out)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make folder for images: %w", err)
	}
	var (
		all     []tagged
		results []Result
	)
	for _, s := range specs {
		packed, err := pack(s, binDir)
		if err != nil {
			return nil, err
		}
		path := out
		if oneFile {
			all = append(all, packed)
		} else {
			path = filepath.Join(dir, s.Name+".tar")
			if err := writeFile(path, packed); err != nil {
				return nil, err
			}
		}
		results = append(results, Result{Image: packed.tag.String(), Digest: packed.digest, File: path})
	}
	if oneFile {
		return results, writeFile(out, all...)
	}
	return results, nil
}

// Remote says how to reach a registry.
type Remote struct {
	Registry  string // host, optional port and path prefix: "registry.example.com/mesh"
	PlainHTTP bool   // speak HTTP where HTTPS would be used; loopback is always HTTP
}

// Push packs the images and writes them to the registry, with the credentials
// of the docker configuration when there are any.
func Push(ctx context.Context, specs []Spec, binDir string, to Remote) ([]Result, error) {
	var results []Result
	for _, s := range specs {
		packed, err := pack(s, binDir)
		if err != nil {
			return nil, err
		}
		ref, err := to.parse(s.Ref(to.Registry))
		if err != nil {
			return nil, err
		}
		if err := remote.Write(ref, packed.img, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
			return nil, fmt.Errorf("push %s: %w (is the registry right, and are you logged in to it?)", ref, err)
		}
		results = append(results, Result{Image: ref.String(), Digest: packed.digest})
	}
	return results, nil
}

// Head asks the registry for an image's manifest and returns its digest.
func (r Remote) Head(ctx context.Context, image string) (digest string, err error) {
	ref, err := r.parse(image)
	if err != nil {
		return "", err
	}
	d, err := remote.Head(ref, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return "", fmt.Errorf("look up %s: %w", ref, err)
	}
	return d.Digest.String(), nil
}

func (r Remote) parse(image string) (name.Reference, error) {
	opts := []name.Option{name.StrictValidation}
	if r.PlainHTTP {
		opts = append(opts, name.Insecure)
	}
	ref, err := name.ParseReference(image, opts...)
	if err != nil {
		return nil, fmt.Errorf("image registry %q: %w (write a host with an optional path, such as registry.example.com/mesh)", r.Registry, err)
	}
	return ref, nil
}
