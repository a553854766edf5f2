// SPDX-License-Identifier: Apache-2.0

//go:build conformance

package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
)

// stream is a reader of n bytes that everybody can make anew: what arrives is
// compared with it bit for bit, and neither end keeps it.
type stream struct {
	random *rand.ChaCha8
	left   int64
}

func newStream(n int64) *stream { return &stream{rand.NewChaCha8([32]byte{'g', 'i', 'b'}), n} }

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), s.left)]
	s.left -= int64(len(p))
	return s.random.Read(p)
}

// blockSize is what the ends of a stream read and write at once.
const blockSize = 256 << 10

// justReader has io.Copy use the block that it is given.
type justReader struct{ io.Reader }

// send writes a stream of n bytes.
func send(w io.Writer, n int64) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, justReader{newStream(n)}, make([]byte, blockSize))
	return err
}

// receive reads to the end, and compares with a stream of n bytes.
func receive(r io.Reader, n int64) error {
	want := newStream(n)
	got, expected := make([]byte, blockSize), make([]byte, blockSize)
	for at := int64(0); ; {
		k, err := r.Read(got)
		if int64(k) > want.left {
			return fmt.Errorf("receive: more than %d bytes came", n)
		}
		_, _ = io.ReadFull(want, expected[:k]) // it has them: see above
		if !bytes.Equal(got[:k], expected[:k]) {
			return fmt.Errorf("receive: the block at byte %d of %d differs", at, n)
		}
		at += int64(k)
		if errors.Is(err, io.EOF) {
			if at != n {
				return fmt.Errorf("receive: %d bytes came, want %d", at, n)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive: after %d bytes: %w", at, err)
		}
	}
}
