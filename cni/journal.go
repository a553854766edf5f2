// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// tellTimeout bounds what a log line may cost a pod's start.
const tellTimeout = 5 * time.Millisecond

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
	return len(line), appendLine(j.file, line, maxLog)
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

// appendLine appends to a file that others append to at the same time. A file
// that would grow beyond size bytes becomes path.1.
func appendLine(path string, line []byte, size int64) error {
	f, err := openLog(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size()+int64(len(line)) > size && putAside(f, info, path) {
		fresh, err := openLog(path)
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
// the lock may rename, and only what is still in place. Who doesn't get the lock
// doesn't wait for it.
func putAside(f *os.File, info os.FileInfo, path string) bool {
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false
	}
	now, err := os.Stat(path)
	if err == nil && os.SameFile(info, now) {
		err = os.Rename(path, path+".1")
	}
	return err == nil || os.IsNotExist(err)
}

func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
}
