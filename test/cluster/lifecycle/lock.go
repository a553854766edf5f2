// SPDX-License-Identifier: Apache-2.0

package lifecycle

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// lockSocket is an abstract socket: it is one for the whole host, leaves no file, and is released by the kernel when its
// holder dies.
const lockSocket = "@shunt-cluster-lock"

// lock makes sure that nobody else changes the cluster, or says who does. doing is told to others who try.
func lock(socket, doing string) (unlock func(), err error) {
	listener, err := net.Listen("unix", socket)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("lock the cluster: busy with %s (wait for it, or end it)", holder(socket))
	}
	if err != nil {
		return nil, fmt.Errorf("lock the cluster: %w", err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(time.Second))
			_, _ = fmt.Fprintf(conn, "`cluster %s`, process %d", doing, os.Getpid())
			_ = conn.Close()
		}
	})
	return func() { _ = listener.Close(); serving.Wait() }, nil
}

// holder asks the process that holds the lock what it is doing.
func holder(socket string) string {
	const unknown = "another command"
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return unknown
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	said, err := io.ReadAll(io.LimitReader(conn, 200))
	if err != nil || len(said) == 0 {
		return unknown
	}
	return string(said)
}
