// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"google.golang.org/grpc/codes"

	"github.com/shuntmesh/shunt/internal/xdsapi"
)

// outbox is what is to be sent of one type.
type outbox struct {
	opened bool            // the stream has had its first request of the type
	names  map[string]bool // true: subscribe, false: unsubscribe
	acks   []ack
}

// ack answers one response; reason is "" when all of it was good.
type ack struct {
	nonce, reason string
}

func (o *outbox) set(name string, subscribe bool) {
	if o.names == nil {
		o.names = map[string]bool{}
	}
	o.names[name] = subscribe
}

// subscribe after an unsubscribe that was not sent yet asks anew for what the
// server believes us to have: it must answer a repeated subscription.
func (o *outbox) subscribe(name string)   { o.set(name, true) }
func (o *outbox) unsubscribe(name string) { o.set(name, false) }

// reconnect forgets what was to be sent on the old stream; a new one begins
// with all that we want and the versions of what we have.
func (s *state) reconnect() {
	for k := range kinds {
		s.outbox[k] = outbox{}
	}
}

// next returns a request that is to be sent; nil when there is none.
func (s *state) next() *xdsapi.DeltaDiscoveryRequest {
	for k := range kinds {
		o := &s.outbox[k]
		switch {
		case !o.opened && len(s.resources[k]) > 0:
			return s.open(k)
		case !o.opened:
			// Nobody wants anything of the type.
		case len(o.names) > 0 || len(o.acks) > 0:
			return o.pop(k)
		}
	}
	return nil
}

// open is the first request of a type on a stream.
func (s *state) open(k kind) *xdsapi.DeltaDiscoveryRequest {
	s.outbox[k] = outbox{opened: true}
	req := &xdsapi.DeltaDiscoveryRequest{
		TypeUrl:                 k.typeURL(),
		ResourceNamesSubscribe:  make([]string, 0, len(s.resources[k])),
		InitialResourceVersions: map[string]string{},
	}
	for name, r := range s.resources[k] {
		req.ResourceNamesSubscribe = append(req.ResourceNamesSubscribe, name)
		if r.presence == present {
			req.InitialResourceVersions[name] = r.version
		}
	}
	return req
}

func (o *outbox) pop(k kind) *xdsapi.DeltaDiscoveryRequest {
	req := &xdsapi.DeltaDiscoveryRequest{TypeUrl: k.typeURL()}
	for name, subscribe := range o.names {
		if subscribe {
			req.ResourceNamesSubscribe = append(req.ResourceNamesSubscribe, name)
		} else {
			req.ResourceNamesUnsubscribe = append(req.ResourceNamesUnsubscribe, name)
		}
	}
	o.names = nil
	if len(o.acks) > 0 {
		req.ResponseNonce = o.acks[0].nonce
		if reason := o.acks[0].reason; reason != "" {
			req.ErrorDetail = &xdsapi.Status{Code: int32(codes.InvalidArgument), Message: reason}
		}
		o.acks = o.acks[1:]
	}
	return req
}
