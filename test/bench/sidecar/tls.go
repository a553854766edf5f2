// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/transport"
)

// tlsFiles are the credentials of the rows with TLS.
type tlsFiles struct{ cert, key, ca string }

// apply has inbound end TLS, with cert and key alone; with ca too, inbound asks
// for mutual TLS, and outbound speaks it to endpoints.
func (t tlsFiles) apply(o *proxy.Options) {
	if t == (tlsFiles{}) {
		return
	}
	o.TLS = proxy.TLS{
		Files:   transport.Files{Certificate: t.cert, Key: t.key, CA: t.ca},
		Inbound: proxy.TLSStrict,
	}
	if t.ca != "" {
		o.TLS.Clients = transport.RequiredClientCertificate
		o.TLS.OutboundServerName = "localhost"
	}
}
