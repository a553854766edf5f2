// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/shuntmesh/shunt/internal/flock"
)

// tellTimeout bounds what a log line may cost a pod's start.
const tellTimeout = 5 * time.Millisecond

// lockTimeout bounds how long a line waits for another process that puts the log
// file aside: a stat and a rename.
const lockTimeout = 50 * time.Millisecond

// maxLog is the size at which a log file is put aside, in bytes; the one that was
// put aside before goes.
const maxLog = 1 << 20

// journal is a writer of whole lines: to the agent, which logs them as its own,
// or to a file while the agent doesn't take them.
type journal struct {
	socket, file string // "" for none
}

// Write never makes a pod fail, nor wait for long.
func (j journal) Write(line []byte) (int, error) {
	if j.socket != "" && tell(j.socket, line) == nil {
		return len(line), nil
	}
	if j.file == "" {
		return len(line), nil
	}
	return len(line), logFile{j.file, maxLog, lockTimeout}.append(line)
}

func tell(socket string, line []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), tellTimeout)
	defer cancel()
	status, _, err := request(ctx, socket, "POST /v1/log", line)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("the agent answers with status %d", status)
	}
	return err
}

// logFile is a file to which many processes append. When it would grow beyond size
// bytes it becomes path.1, so that each of the two exceeds size by what is written
// at once at most; by more only while one who puts it aside is held up for longer
// than wait.
type logFile struct {
	path string
	size int64
	wait time.Duration
}

func (l logFile) append(line []byte) error {
	f, err := l.open()
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size()+int64(len(line)) > l.size && l.putAside(f, info) {
		fresh, err := l.open()
		if err != nil {
			return err
		}
		defer fresh.Close()
		f = fresh
	}
	_, err = f.Write(line)
	return err
}

// putAside reports whether the file at path is another one now. Only one who has
// the lock may rename, and only what is still in place. A process that is stopped
// while it has the lock must not stop every pod's start.
func (l logFile) putAside(f *os.File, info os.FileInfo) bool {
	ctx, cancel := context.WithTimeout(context.Background(), l.wait)
	defer cancel()
	if flock.Wait(ctx, f, time.Millisecond) != nil {
		return false
	}
	now, err := os.Stat(l.path)
	if err == nil && os.SameFile(info, now) {
		err = os.Rename(l.path, l.path+".1")
	}
	return err == nil || os.IsNotExist(err)
}

func (l logFile) open() (*os.File, error) {
	return os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
}
