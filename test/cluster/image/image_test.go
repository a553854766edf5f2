// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/shuntmesh/shunt/test/cluster/image"
)

func TestPack(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("\x7fELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	var packed [2][]byte
	for i := range packed {
		out := filepath.Join(dir, "image.tar")
		if err := image.Pack(out, "shunt.test/program:1", program); err != nil {
			t.Fatal(err)
		}
		var err error
		if packed[i], err = os.ReadFile(out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(packed[0], packed[1]) {
		t.Error("one program makes two images")
	}
	img, err := tarball.ImageFromPath(filepath.Join(dir, "image.tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/program"}, config.Config.Entrypoint); diff != "" {
		t.Errorf("entry point (-want +got):\n%s", diff)
	}
	if err := image.Pack(filepath.Join(dir, "bad.tar"), "NOT A REFERENCE", program); err == nil {
		t.Error("packed under a name that is none")
	}
}
