// SPDX-License-Identifier: Apache-2.0

//go:build netns

package conformance_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/conformance"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// The segment that connection tracking can't place: no connection begins with
// SYN and FIN. The kernel answers it with a reset where nobody listens.
const (
	strayFrom  = 5555
	strayTo    = 4444
	flagFIN    = 0x01
	flagSYN    = 0x02
	flagRST    = 0x04
	answerTime = 300 * time.Millisecond
)

// TestInvalidIsDropped sends such a segment to a pod, with and without
// --drop-invalid.
func TestInvalidIsDropped(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			c := conformance.Settings()[0].Config
			c.ClosedPorts = redirect.ClosedCapture // the question is the other flag's
			c.DropInvalid = true
			if s.refuses(t, c) {
				return // it lets no rule of NAT be missed by such a segment
			}
			t.Parallel()
			b := newBed(t)
			for _, drop := range []bool{false, true} {
				c.DropInvalid = drop
				b.apply(t, s, c)
				for _, way := range [][2]string{{testnet.NodeV4, testnet.PodV4}, {testnet.NodeV6, testnet.PodV6}} {
					b.node.Do(t, func() error {
						answered, err := stray(netip.MustParseAddr(way[0]), netip.MustParseAddr(way[1]))
						if err == nil && answered == drop {
							t.Errorf("%s with --drop-invalid=%v: answered with a reset: %v", way[1], drop, answered)
						}
						return err
					})
				}
			}
		})
	}
}

// stray sends the segment and reports whether a reset comes back.
func stray(from, to netip.Addr) (answered bool, err error) {
	family, bound := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Addr: from.As16()})
	dest := unix.Sockaddr(&unix.SockaddrInet6{Addr: to.As16()})
	if from.Is4() {
		family, bound, dest = unix.AF_INET, &unix.SockaddrInet4{Addr: from.As4()}, &unix.SockaddrInet4{Addr: to.As4()}
	}
	s, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return false, fmt.Errorf("open raw socket: %w", err)
	}
	defer unix.Close(s)
	timeout := unix.NsecToTimeval(answerTime.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.Bind(s, bound),
		unix.Sendto(s, segment(from, to), 0, dest),
	)
	if err != nil {
		return false, fmt.Errorf("send segment: %w", err)
	}
	for deadline := time.Now().Add(answerTime); time.Now().Before(deadline); {
		buf := make([]byte, 256)
		n, _, err := unix.Recvfrom(s, buf, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return false, nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return false, fmt.Errorf("receive segment: %w", err)
		case err == nil && isReset(buf[:n], from.Is4()):
			return true, nil
		}
	}
	return false, nil
}

// segment is a TCP header (RFC 9293 section 3.1) with SYN and FIN.
func segment(from, to netip.Addr) []byte {
	h := make([]byte, 20)
	binary.BigEndian.PutUint16(h[0:], strayFrom)
	binary.BigEndian.PutUint16(h[2:], strayTo)
	binary.BigEndian.PutUint32(h[4:], 1)
	h[12], h[13] = 5<<4, flagSYN|flagFIN
	binary.BigEndian.PutUint16(h[14:], 1024)
	binary.BigEndian.PutUint16(h[16:], checksum(from, to, h))
	return h
}

// checksum covers the pseudo-header too (RFC 9293 section 3.1, RFC 8200 section 8.1).
func checksum(from, to netip.Addr, h []byte) uint16 {
	var sum uint32
	for _, part := range [][]byte{from.AsSlice(), to.AsSlice(), {0, unix.IPPROTO_TCP, 0, byte(len(h))}, h} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// isReset looks at what a raw socket has received: an IPv4 one gets the packet's
// own header first.
func isReset(packet []byte, v4 bool) bool {
	if v4 && len(packet) > 0 {
		packet = packet[min(len(packet), int(packet[0]&0xf)*4):]
	}
	return len(packet) >= 20 && packet[13]&flagRST != 0 &&
		binary.BigEndian.Uint16(packet[0:]) == strayTo && binary.BigEndian.Uint16(packet[2:]) == strayFrom
}
