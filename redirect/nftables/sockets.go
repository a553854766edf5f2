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

// socketBuffer holds the largest batch and all its answers: the rules, which the
// kernel says back, or an error for each message of one that it refuses.
const socketBuffer = 4 << 20 // bytes

// socket is one as the library drives it, and as it is. It reaches the namespace
// of the thread that opened it.
type socket struct {
	*nft.Conn
	raw *netlink.Conn
}

// converse opens a socket for f.
func converse(ctx context.Context, f func(socket) error) error {
	s, err := dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = s.CloseLasting() }()
	return f(s)
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
		return errors.Join(selectable(c), c.SetReadBuffer(socketBuffer), c.SetWriteBuffer(socketBuffer))
	}))
	if err != nil {
		return socket{}, fmt.Errorf("open netfilter netlink socket: %w", hint(err))
	}
	return s, nil
}

// selectable refuses a descriptor that select(2), with which the library looks for
// answers, has no place for: the library would panic.
func selectable(c *netlink.Conn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var fd uintptr
	if err := raw.Control(func(n uintptr) { fd = n }); err != nil {
		return err
	}
	if fd >= unix.FD_SETSIZE {
		return fmt.Errorf("descriptor %d is beyond the %d that select takes (this process has too many open)", fd, unix.FD_SETSIZE)
	}
	return nil
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
