// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/internal/flock"
)

// TestLogIsBounded has many write at once: no line is torn, the two files hold
// the newest, and neither is larger than it may be by more than what was written
// at once.
func TestLogIsBounded(t *testing.T) {
	const (
		writers, lines = 16, 200
		size           = 8 << 10
		length         = 64
	)
	path := filepath.Join(t.TempDir(), "cni.log")
	log := logFile{path, size, time.Minute}
	line := func(writer, i int) string {
		return fmt.Sprintf("%-*s\n", length-1, fmt.Sprintf("writer %d line %d", writer, i))
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range lines {
				if err := log.append([]byte(line(w, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := log.append([]byte(line(99, 99))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, path + ".1"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > size+writers*length {
			t.Errorf("%s has %d bytes, want %d at most", filepath.Base(name), len(data), size+writers*length)
		}
		for l := range bytes.Lines(data) {
			if len(l) != length || !strings.HasPrefix(string(l), "writer ") {
				t.Errorf("%s holds a torn line: %q", filepath.Base(name), l)
			}
		}
		if name == path && !bytes.HasSuffix(data, []byte(line(99, 99))) {
			t.Errorf("the last line is missing")
		}
	}
	if others, err := filepath.Glob(path + "*"); err != nil || len(others) != 2 {
		t.Errorf("files %v, %v; want two", others, err)
	}
}

// TestLongLine is written however long it is.
func TestLongLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cni.log")
	log := logFile{path, 10, time.Minute}
	for range 3 {
		if err := log.append(bytes.Repeat([]byte("x"), 100)); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(path); err != nil || len(data) != 100 {
		t.Errorf("%d bytes, %v; want the last line alone", len(data), err)
	}
}

// TestLogIsHeld has the lock with one who never lets go of it: a line is written
// all the same, where it was to be put aside.
func TestLogIsHeld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cni.log")
	log := logFile{path, 10, 10 * time.Millisecond}
	if err := log.append([]byte("one line\n")); err != nil {
		t.Fatal(err)
	}
	held, err := log.open()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := flock.Wait(t.Context(), held, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := log.append([]byte("another\n")); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "one line\nanother\n" {
		t.Errorf("%q, %v; want both lines", data, err)
	}
}

func TestAnswers(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n{}": "200 {}",
		"HTTP/1.1 503 Service Unavailable\r\n\r\n":              "503 ",
		"HTTP/1.0 204\r\n\r\n":                                  "204 ",
		"":                                                      "read answer: it is not HTTP",
		"HTTP/1.0 200 OK\r\n":                                   "read answer: it is not HTTP",
		"SSH-2.0 200\r\n\r\n":                                   "read answer: it is not HTTP",
		"HTTP/1.0 ok\r\n\r\n":                                   "read answer: status",
	} {
		status, body, err := parseAnswer([]byte(answer))
		got := fmt.Sprintf("%d %s", status, body)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s, want %s", answer, got, want)
		}
	}
}
