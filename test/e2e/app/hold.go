// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// held is what hold prints of one connection: when it is open, and when the other
// side ends it.
type held struct {
	Pod   string // who answered
	Peer  string // whom getpeername names
	Local string // from where, in this pod
	Seen  string // from where, as the other side sees it
	Ended bool
}

// hold opens -n connections one after the other, has each answered, and keeps
// them until its input ends.
func hold(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("hold", flag.ContinueOnError)
	n := flags.Int("n", 1, "connections")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var open sync.WaitGroup
	defer open.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	say := func(h held) error {
		mu.Lock()
		defer mu.Unlock()
		return json.NewEncoder(os.Stdout).Encode(h)
	}
	for range *n {
		conn, h, err := dialTCP(ctx, flags.Arg(0))
		if err != nil {
			return err
		}
		if err := say(h); err != nil {
			conn.Close()
			return err
		}
		open.Go(func() {
			defer conn.Close()
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer stop()
			_, _ = io.Copy(io.Discard, conn)
			if h.Ended = true; ctx.Err() == nil {
				_ = say(h)
			}
		})
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// dialTCP opens a connection, and asks who is at its other end.
func dialTCP(ctx context.Context, address string) (net.Conn, held, error) {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, held{}, err
	}
	var a answer
	err = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if err == nil {
		_, err = conn.Write([]byte("\x01\x02 hello\n"))
	}
	var line []byte
	if err == nil {
		line, err = bufio.NewReader(conn).ReadBytes('\n')
	}
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		conn.Close()
		return nil, held{}, fmt.Errorf("ask %s who it is: %w", address, err)
	}
	return conn, held{Pod: a.Pod, Peer: conn.RemoteAddr().String(), Local: conn.LocalAddr().String(), Seen: a.Remote}, nil
}
