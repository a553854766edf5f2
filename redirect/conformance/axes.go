// SPDX-License-Identifier: Apache-2.0

// Package conformance holds every backend of redirect to the same behaviour: a
// matrix of connections with what must become of each, which its tests send
// through real network namespaces.
//
// What is expected is written down here, cell by cell, in the words of the
// contract, and takes nothing from a Plan: the model is under test too.
package conformance

// Sender is who opens a connection.
type Sender uint8

// The senders. Whoever is no proxy and in no group that is left alone is
// treated as the application is.
const (
	Application Sender = iota
	Root               // the application, as root
	Member             // the application, with the groups below as supplementary ones
	OwnerGroup         // the application, in a group that the Config names
	ProxyUser          // told by its uid alone
	ProxyGroup         // told by its gid alone
	ProxySource        // the proxy, from the address from which it dials the application
)

// Direction is where a connection leads, as the pod sees it.
type Direction uint8

// The directions.
const (
	Inbound    Direction = iota // from the node to the pod's address
	Outbound                    // from the pod to another host
	Loopback                    // from the pod to 127.0.0.1 or ::1
	OwnIP                       // from the pod to its own address
	OwnService                  // from the pod to a service whose only endpoint is the pod
)

// Transport is the protocol above IP.
type Transport uint8

// The transports.
const (
	TCP Transport = iota
	UDP
)

// Client is what kind of socket opens a connection.
type Client uint8

// The clients.
const (
	Plain Client = iota
	MPTCP        // RFC 8684
)

// Family is the kind of address that is dialled.
type Family uint8

// The families.
const (
	IPv4 Family = iota
	IPv6
	Mapped // IPv4 by way of an IPv6 socket, RFC 4291 section 2.5.5.2
)

// Listening is where in the pod the application listens for TCP. The proxy
// always listens at every address, and for datagrams everybody does.
type Listening uint8

// The places to listen.
const (
	Everywhere Listening = iota
	Nowhere
	LoopbackOnly
	OtherAddress // at an address of the pod to which no cell leads
)

// String returns the sender's name in the golden list.
func (s Sender) String() string {
	return [...]string{"application", "root", "member", "owner group", "proxy uid", "proxy gid", "proxy source"}[s]
}

// String returns the direction's name in the golden list.
func (d Direction) String() string {
	return [...]string{"inbound", "outbound", "loopback", "own IP", "own service"}[d]
}

// String returns "TCP" or "UDP".
func (t Transport) String() string { return [...]string{"TCP", "UDP"}[t] }

// String returns "plain" or "MPTCP".
func (c Client) String() string { return [...]string{"plain", "MPTCP"}[c] }

// String returns the family's name in the golden list.
func (f Family) String() string { return [...]string{"IPv4", "IPv6", "mapped"}[f] }

// String returns the place's name in the golden list.
func (l Listening) String() string {
	return [...]string{"listening", "closed", "listening at loopback", "listening elsewhere"}[l]
}

// The number of values of each axis.
const (
	senders    = int(ProxySource) + 1
	directions = int(OwnService) + 1
	transports = int(UDP) + 1
	clients    = int(MPTCP) + 1
	families   = int(Mapped) + 1
	listenings = int(OtherAddress) + 1
)
