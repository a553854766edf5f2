// SPDX-License-Identifier: Apache-2.0

// Package services keeps a node's table of the Services that are balanced at
// connect as discovery says. It asks for all of them over one Delta ADS stream,
// as a sidecar asks for some, and hands each whole table to the kernel. While
// discovery is away the last table stays.
package services

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/shuntmesh/shunt/redirect/ebpf"
)

// Balancer is the node's table in the kernel.
type Balancer interface {
	// Balance makes the table exactly want, and ends open connections to endpoints
	// that a service has no more. It compares with what there is, so that a repeated
	// call finishes what an error left.
	Balance(ctx context.Context, want []ebpf.Service) (ebpf.Balanced, error)
}

// Options is what a Feed is made of. All fields are needed.
type Options struct {
	Address   string // host:port of discovery, whose certificate is for that host
	TokenFile string // sent as bearer token; read anew for each stream, since kubelet rotates it
	// Roots returns what discovery's certificate is verified with, in PEM. It is
	// asked for each stream, since it may change.
	Roots    func(context.Context) ([]byte, error)
	Node     string // told to discovery for its logs; decides nothing
	Balancer Balancer
	Metrics  *Metrics
	Log      *slog.Logger
}

// Feed feeds the node's table.
type Feed struct {
	options Options
	host    string        // of Address
	changed chan struct{} // has room for one: the table is whole, and another

	mu    sync.Mutex
	table *table
}

// New checks the options. Run does the work.
func New(o Options) (*Feed, error) {
	host, _, err := net.SplitHostPort(o.Address)
	if err == nil && host == "" {
		err = errors.New("the host is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("read address of discovery %q: %w (allowed: host:port)", o.Address, err)
	}
	return &Feed{options: o, host: host, changed: make(chan struct{}, 1), table: newTable()}, nil
}

// Run feeds the table until ctx ends, and returns when all that it started has
// ended. The table stays then as it is. Errors are logged and tried again.
func (f *Feed) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { f.write(ctx) })
	f.listen(ctx)
	return nil
}

// pool reads certificates in PEM.
func pool(pem []byte) (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("read CA of discovery: there is no certificate (PEM is wanted)")
	}
	return roots, nil
}
