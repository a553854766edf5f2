// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"net"
	"net/netip"
	"os"
)

// Ports gives out free ports of the loopback interface. It begins somewhere
// else in each process and stays below those that the kernel gives to
// connections (ip_local_port_range begins at 32768), so that nobody else takes
// one between the look and the use.
type Ports struct{ next int }

const (
	firstPort = 10_000
	portCount = 20_000
)

// NewPorts begins at a place that depends on our process id.
func NewPorts() *Ports { return &Ports{next: os.Getpid() * 64 % portCount} }

// Free returns an address that nobody listens on.
func (p *Ports) Free() (netip.AddrPort, error) {
	for range portCount {
		p.next = (p.next + 1) % portCount
		ap := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(firstPort+p.next))
		if l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(ap)); err == nil {
			return ap, l.Close()
		}
	}
	return netip.AddrPort{}, errors.New("no port of the loopback interface is free")
}

// FreeN returns n of them.
func (p *Ports) FreeN(n int) ([]netip.AddrPort, error) {
	out := make([]netip.AddrPort, n)
	for i := range out {
		var err error
		if out[i], err = p.Free(); err != nil {
			return nil, err
		}
	}
	return out, nil
}
