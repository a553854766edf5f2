// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shuntmesh/shunt/internal/xdsapi"
)

// maxReason bounds the text of a NACK, in bytes.
const maxReason = 1024

// apply takes a response over and queues its ACK or NACK. Each resource stands
// alone: a bad one is refused, by name, and its last good value stays; the
// others are used. The error is what the NACK says.
func (s *state) apply(resp *xdsapi.DeltaDiscoveryResponse) error {
	k, ok := kindOf(resp.GetTypeUrl())
	if !ok {
		return fmt.Errorf("response has type %q, which nobody asked for", resp.GetTypeUrl())
	}
	var bad []error
	for _, res := range resp.GetResources() {
		r := s.resources[k][res.GetName()]
		if r == nil {
			continue // it crossed our unsubscription
		}
		if err := s.set(k, r, res); err != nil {
			bad = append(bad, fmt.Errorf("%q: %w", res.GetName(), err))
		}
	}
	for _, name := range resp.GetRemovedResources() {
		if r := s.resources[k][name]; r != nil {
			s.remove(ref{k, name}, r)
		}
	}
	s.settle()
	err := errors.Join(bad...)
	s.outbox[k].acks = append(s.outbox[k].acks, ack{nonce: resp.GetNonce(), reason: reason(err)})
	return err
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	if len(text) > maxReason {
		text = text[:maxReason-3] + "..."
	}
	return strings.ToValidUTF8(text, "?") // or protobuf would not encode it
}

// set decodes first and changes after, so that a bad resource changes nothing.
func (s *state) set(k kind, r *resource, res *xdsapi.Resource) error {
	value := res.GetResource().GetValue()
	if typ := res.GetResource().GetTypeUrl(); typ != k.typeURL() {
		return fmt.Errorf("its type is %q", typ)
	}
	before := r.presence
	switch k {
	case kindAddress:
		v, err := decodeAddress(value)
		if err != nil {
			return err
		}
		r.address = v
		s.touchUsers(r)
	case kindRoute:
		v, err := decodeRoutes(res.GetName(), value)
		if err != nil {
			return err
		}
		r.routes = v
		s.touchUsers(r)
	case kindCluster:
		v, err := decodeCluster(res.GetName(), value)
		if err != nil {
			return err
		}
		r.cluster = v
		s.dirtyClusters[res.GetName()] = struct{}{}
	case kindEndpoints:
		v, err := decodeEndpoints(res.GetName(), value)
		if err != nil {
			return err
		}
		s.replaceMembers(r, v)
		s.dirtyClusters[res.GetName()] = struct{}{}
	}
	r.presence, r.version = present, res.GetVersion()
	if before != present {
		s.touchUsers(r)
	}
	return nil
}

func (s *state) remove(name ref, r *resource) {
	s.members.release(r.members)
	*r = resource{users: r.users, presence: absent, used: r.used}
	s.touchUsers(r)
	if name.kind == kindCluster || name.kind == kindEndpoints {
		s.dirtyClusters[name.name] = struct{}{}
	}
}

func (s *state) touchUsers(r *resource) {
	for _, d := range r.users {
		s.dirtyDemands[d] = struct{}{}
	}
}

// replaceMembers acquires before it releases, so that an endpoint which stays
// is the same object, with its load.
func (s *state) replaceMembers(r *resource, decoded []decodedEndpoint) {
	members := make([]endpoint, 0, len(decoded))
	for _, e := range decoded {
		members = append(members, endpoint{Endpoint: s.members.acquire(e.addr), draining: e.draining, zone: e.zone})
	}
	s.members.release(r.members)
	r.members = slices.Clip(members)
}
