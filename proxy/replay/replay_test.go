// SPDX-License-Identifier: Apache-2.0

package replay_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/shuntmesh/shunt/proxy/replay"
)

func TestAttemptsReadTheSameBody(t *testing.T) {
	body := replay.NewBody(strings.NewReader("hello world"))
	for i := range 3 {
		a := body.Next()
		buf := make([]byte, 5+i)
		if _, err := io.ReadFull(a, buf); err != nil || string(buf) != "hello world"[:5+i] {
			t.Fatalf("attempt %d: %q, %v", i, buf, err)
		}
	}
	rest, err := io.ReadAll(body.Next())
	if string(rest) != "hello world" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestTooLong(t *testing.T) {
	long := strings.Repeat("x", replay.MaxBytes+1)
	body := replay.NewBody(strings.NewReader(long))
	got, err := io.ReadAll(body.Next())
	if len(got) != len(long) || err != nil {
		t.Errorf("first attempt: %d bytes, %v", len(got), err)
	}
	if body.Next() != nil {
		t.Error("a body of which the beginning is gone has a second attempt")
	}
}

// TestCommitWhileReading: a long stream is read on, and nothing more is kept.
func TestCommitWhileReading(t *testing.T) {
	body := replay.NewBody(strings.NewReader(strings.Repeat("x", 3*replay.MaxBytes)))
	first := body.Next()
	io.CopyN(io.Discard, first, 100)
	second := body.Next()
	io.CopyN(io.Discard, second, 10)
	body.Commit()
	n, err := io.Copy(io.Discard, second)
	if n != 3*replay.MaxBytes-10 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, err := first.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the attempt before reads on: %v", err)
	}
}

// TestAbandonedRead: an attempt that was given up in the middle of a Read
// loses nothing of what comes.
func TestAbandonedRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		body := replay.NewBody(r)
		old := body.Next()
		go old.Read(make([]byte, 10))
		synctest.Wait() // it sits in the pipe
		next := body.Next()
		var got []byte
		done := make(chan struct{})
		go func() { defer close(done); got, _ = io.ReadAll(next) }()
		io.WriteString(w, "one ")
		io.WriteString(w, "two")
		w.Close()
		<-done
		if string(got) != "one two" {
			t.Errorf("got %q", got)
		}
	})
}

func ExampleBody() {
	body := replay.NewBody(strings.NewReader("order 7"))
	io.CopyN(io.Discard, body.Next(), 3) // to an endpoint that then refused
	again, _ := io.ReadAll(body.Next())
	fmt.Printf("%s\n", again)
	// Output: order 7
}

// FuzzBody reads a body by attempts that give up after a number of bytes.
func FuzzBody(f *testing.F) {
	f.Add([]byte("hello"), []byte{3, 1})
	f.Fuzz(func(t *testing.T, in, cuts []byte) {
		body := replay.NewBody(bytes.NewReader(in))
		for _, cut := range cuts {
			buf := make([]byte, cut)
			n, _ := io.ReadFull(body.Next(), buf)
			if !bytes.HasPrefix(in, buf[:n]) {
				t.Fatalf("attempt read %q of %q", buf[:n], in)
			}
		}
		if got, err := io.ReadAll(body.Next()); !bytes.Equal(got, in) || err != nil {
			t.Fatalf("%q, %v; want %q", got, err, in)
		}
	})
}
