// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// doomed is a connection that is to end, as bpf/balance.h writes it. Addresses and
// ports are in network byte order.
type doomed struct {
	Netns             uint64 // the cookie of its namespace
	Cookie            uint64 // of its socket, which no other one has
	Own, Peer         [16]byte
	OwnPort, PeerPort [2]byte
	Family            uint32
	Device            uint32 // that it is bound to; 0 is none
	Reserved          uint32
}

// doomedSize is that of one in the kernel's list.
const doomedSize = 64

func parseDoomed(list []byte) ([]doomed, error) {
	if len(list)%doomedSize != 0 {
		return nil, fmt.Errorf("list connections to removed endpoints: %d bytes are no list of %d each", len(list), doomedSize)
	}
	out := make([]doomed, len(list)/doomedSize)
	if _, err := binary.Decode(list, binary.NativeEndian, out); err != nil {
		return nil, fmt.Errorf("list connections to removed endpoints: %w", err)
	}
	return out, nil
}

// diagRequest is struct inet_diag_req_v2 of linux/inet_diag.h.
type diagRequest struct {
	Family, Protocol, Extensions, Reserved uint8
	States                                 uint32
	SourcePort, DestPort                   [2]byte
	Source, Dest                           [16]byte
	Device                                 uint32
	Cookie                                 [2]uint32 // the lower half first
}

// destroy ends it, in the calling thread's namespace, by SOCK_DESTROY (sock_diag(7), CONFIG_INET_DIAG_DESTROY). One
// that has ended meanwhile is no error. Where the kernel can't, the error wraps
// errors.ErrUnsupported.
func (d doomed) destroy() error {
	raw, err := binary.Append(nil, binary.NativeEndian, diagRequest{
		Family: uint8(d.Family), Protocol: unix.IPPROTO_TCP, States: ^uint32(0),
		SourcePort: d.OwnPort, DestPort: d.PeerPort, Source: d.Own, Dest: d.Peer,
		Device: d.Device, Cookie: [2]uint32{uint32(d.Cookie), uint32(d.Cookie >> 32)},
	})
	if err != nil {
		return fmt.Errorf("end connection: %w", err)
	}
	request := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
	request.AddRawData(raw)
	_, err = request.Execute(unix.NETLINK_SOCK_DIAG, 0)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("end connection: %w", hint(err))
	}
	return nil
}
