// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// maxFile bounds what is read: a chain is some 10 KiB, a bundle of all public
// roots 250 KiB.
const maxFile = 1 << 20

// Files are paths of PEM files, read anew by Reload.
type Files struct {
	// Certificate is a chain, leaf first, Key its private key. Both or none:
	// without, it is for clients that show none.
	Certificate string
	Key         string
	// CA are the roots that a peer's certificate must lead to. Without, a
	// client uses the system's, and a server can't verify clients.
	CA string
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Certificates are the content of Files, which may be replaced while connections
// are made. They are safe for concurrent use.
type Certificates struct {
	files   Files
	loading sync.Mutex
	current atomic.Pointer[material]
}

// content is that of certificate, key and CA.
type content [3][]byte

// digest tells whether content has changed, without a second copy of the key.
type digest [3][sha256.Size]byte

// Load reads the files. An error names the file and the cause.
func Load(f Files) (*Certificates, error) {
	if f.Now == nil {
		f.Now = time.Now
	}
	if (f.Certificate == "") != (f.Key == "") {
		return nil, errors.New("load certificate: certificate and key need each other (one of the paths is empty)")
	}
	c := &Certificates{files: f}
	if _, err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the files again and tells whether new content is in use. On an
// error, as from Load, the old content stays.
func (c *Certificates) Reload() (changed bool, err error) {
	c.loading.Lock()
	defer c.loading.Unlock()
	read, err := c.files.read()
	if err != nil {
		return false, err
	}
	if old := c.current.Load(); old != nil && old.digest == read.digest() {
		return false, nil
	}
	m, err := c.files.parse(read)
	if err != nil {
		return false, err
	}
	c.current.Store(m)
	return true, nil
}

// Watch calls Reload every interval until ctx ends, and report after each that
// changed something, with nil, or that went wrong. It reads the content rather
// than watch for events: Kubernetes replaces a mounted secret by swapping a
// symbolic link two levels up.
//
// An error is reported once, and only when it is met twice in a row: files that
// are replaced one after the other don't match for a moment.
func (c *Certificates) Watch(ctx context.Context, interval time.Duration, report func(error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var last string
	var times int
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		changed, err := c.Reload()
		switch {
		case err == nil:
			last, times = "", 0
			if changed {
				report(nil)
			}
		case err.Error() != last:
			last, times = err.Error(), 1
		default:
			if times++; times == 2 {
				report(err)
			}
		}
	}
}

// Expires is when the certificate in use does; zero when there is none.
func (c *Certificates) Expires() time.Time {
	if pair := c.current.Load().pair; pair != nil {
		return pair.Leaf.NotAfter
	}
	return time.Time{}
}

// read reads all files, twice: a set that was being replaced in between would be
// half old and half new.
func (f *Files) read() (content, error) {
	const attempts = 5
	var last digest
	for i := range attempts {
		var c content
		for j, path := range [...]string{f.Certificate, f.Key, f.CA} {
			var err error
			if c[j], err = readFile(path); err != nil {
				return c, err
			}
		}
		now := c.digest()
		if i > 0 && now == last {
			return c, nil
		}
		last = now
	}
	return content{}, fmt.Errorf("read %s, %s and %s: they change all the time", f.Certificate, f.Key, f.CA)
}

func (c *content) digest() (d digest) {
	for i := range c {
		d[i] = sha256.Sum256(c[i])
	}
	return d
}

func readFile(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open certificate file: %w", err) // names the path
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read certificate file: %w", err) // as above
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("read certificate file %s: larger than %d bytes", path, maxFile)
	}
	return content, nil
}
