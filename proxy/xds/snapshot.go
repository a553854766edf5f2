// SPDX-License-Identifier: Apache-2.0

// Package xds is the proxy's side of discovery: a Delta ADS client. Names of
// what the data path asks for go in, an immutable Snapshot comes out.
package xds

import (
	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/route"
)

// Destination is what discovery says of an original destination.
type Destination struct {
	// Service is nil when the address is no service: a pod, or something
	// outside the cluster. Traffic then goes to the address itself.
	Service *Service
}

// Service is one port of a service, whole: its routes and every cluster that
// they name are in the same Snapshot.
type Service struct {
	Host   string // "greeter.demo.svc.cluster.local"
	Port   uint16 // the service's port, not the pod's
	Routes *route.Table
}

// Cluster is a set of endpoints and the policy over it.
type Cluster struct {
	Name   string
	Picker balance.Picker
}
