// SPDX-License-Identifier: Apache-2.0

package testnet

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// make opens the socket with the kernel's own calls: package net would dial a
// mapped address from an IPv4 socket.
func (at Attempt) make() Outcome {
	begin := time.Now()
	o := Outcome{Token: at.Token}
	s, err := at.socket()
	if err != nil {
		return o.failed("socket", err)
	}
	defer unix.Close(s)
	if at.Source.IsValid() {
		if err := unix.Bind(s, sockaddr(netip.AddrPortFrom(at.Source, 0))); err != nil {
			return o.failed("bind", err)
		}
	}
	deadline := begin.Add(at.Patience)
	err = connect(s, sockaddr(at.Dest), deadline)
	o.Took = time.Since(begin)
	if err != nil {
		return o.failed("connect", err)
	}
	local, err := unix.Getsockname(s)
	if err != nil {
		return o.failed("getsockname", err)
	}
	o.Local = addrPort(local)
	if err := exchange(s, at, deadline); err != nil {
		return o.failed("exchange", err)
	}
	return o
}

func (o Outcome) failed(op string, err error) Outcome {
	o.Op, o.Errno = op, unix.EIO
	errors.As(err, &o.Errno)
	return o
}

func (at Attempt) socket() (int, error) {
	family, kind, proto := unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_TCP
	if at.Dest.Addr().Is4() {
		family = unix.AF_INET
	}
	switch {
	case at.UDP:
		kind, proto = unix.SOCK_DGRAM, unix.IPPROTO_UDP
	case at.MPTCP:
		proto = unix.IPPROTO_MPTCP
	}
	return unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
}

func connect(s int, to unix.Sockaddr, deadline time.Time) error {
	err := unix.Connect(s, to)
	if !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	if err := await(s, unix.POLLOUT, deadline); err != nil {
		return err
	}
	code, err := unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	return err
}

// exchange sends the token. Over TCP it waits until the other side has sent it
// back and closed, so that a connection that stands is one that carried bytes.
func exchange(s int, at Attempt, deadline time.Time) error {
	token := binary.BigEndian.AppendUint64(nil, at.Token)
	if _, err := unix.Write(s, token); err != nil || at.UDP {
		return err
	}
	var got []byte
	for {
		if err := await(s, unix.POLLIN, deadline); err != nil {
			return err
		}
		buf := make([]byte, 2*tokenSize)
		n, err := unix.Read(s, buf)
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return err
		}
		got = append(got, buf[:max(n, 0)]...)
		if n == 0 && err == nil {
			break
		}
	}
	if string(got) != string(token) {
		return unix.EBADMSG
	}
	return nil
}

// await returns ETIMEDOUT when s doesn't become ready before the deadline.
func await(s int, events int16, deadline time.Time) error {
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return unix.ETIMEDOUT
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(s), Events: events}}, int(left.Milliseconds())+1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func sockaddr(ap netip.AddrPort) unix.Sockaddr {
	if ap.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	default:
		return netip.AddrPort{}
	}
}
