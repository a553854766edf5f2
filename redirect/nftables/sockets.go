// SPDX-License-Identifier: Apache-2.0

package nftables

import (
	"context"
	"errors"
	"fmt"

	nft "github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// socketBuffer holds the largest batch and all its answers, which the kernel
// would otherwise cut off with ENOBUFS after it has committed.
const socketBuffer = 4 << 20 // bytes

// sockets reach the namespace of the thread that opened them, from any thread.
type sockets struct {
	first, second socket
}

// socket is one as the library drives it, and as it is.
type socket struct {
	*nft.Conn
	raw *netlink.Conn
}

// converse opens sockets on the calling thread and lets f use them on another.
// Whoever acts in another's namespace has locked its thread, and the library
// receives in a goroutine of its own: on a locked thread each message costs two
// changes of thread, which made an apply of 2 ms one of 13.
func converse(ctx context.Context, f func(sockets) error) error {
	first, err := dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = first.CloseLasting() }()
	second, err := dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = second.CloseLasting() }()
	done := make(chan error)
	go func() { done <- f(sockets{first, second}) }()
	return <-done
}

func dial(ctx context.Context) (s socket, err error) {
	if err := ctx.Err(); err != nil {
		return socket{}, err
	}
	s.Conn, err = nft.New(nft.AsLasting(), nft.WithSockOptions(func(c *netlink.Conn) error {
		s.raw = c
		if deadline, ok := ctx.Deadline(); ok {
			if err := c.SetDeadline(deadline); err != nil {
				return err
			}
		}
		return errors.Join(c.SetReadBuffer(socketBuffer), c.SetWriteBuffer(socketBuffer))
	}))
	if err != nil {
		return socket{}, fmt.Errorf("open netfilter netlink socket: %w", hint(err))
	}
	return s, nil
}

// hint adds what a person can do about an error of the kernel.
func hint(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w (CAP_NET_ADMIN is needed in the pod's network namespace)", err)
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EOPNOTSUPP),
		errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%w: %w (the kernel needs 4.18 or later with nf_tables, nft_chain_nat, nft_redir and nft_socket; without the last with --closed-ports capture; with --ipv6 off for IPv4 alone)", err, errors.ErrUnsupported)
	default:
		return err
	}
}
