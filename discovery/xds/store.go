// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"context"
	"maps"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shuntmesh/shunt/internal/contract"
)

// Store holds all resources, once for all streams, and knows which stream
// waits for which names. It implements cache.Cache: by name, and of one type by
// Wildcard.
type Store struct {
	metrics  *Metrics
	maxNames int

	mu    sync.Mutex
	types map[string]*collection // the keys never change
}

var _ cache.Cache = (*Store)(nil)

// collection is the resources of one type.
type collection struct {
	resources map[string]*discoveryv3.Resource
	watches   map[string]map[*watch]struct{} // by name
	wildcards map[*watch]struct{}            // those that wait for any name
}

// watch waits for a change of any of the names that one stream subscribed to.
// It answers once; the stream then makes the next, with its ACK. So there is
// one response in flight per type, and changes meanwhile merge.
type watch struct {
	request *cache.DeltaRequest
	sub     cache.Subscription
	out     chan<- cache.DeltaResponse
}

// NewStore returns an empty store. maxNames bounds how many names of one type
// a stream may subscribe to.
func NewStore(maxNames int, m *Metrics) *Store {
	s := &Store{metrics: m, maxNames: maxNames, types: map[string]*collection{}}
	for _, typ := range servedTypes() {
		s.types[typ] = &collection{
			resources: map[string]*discoveryv3.Resource{},
			watches:   map[string]map[*watch]struct{}{},
			wildcards: map[*watch]struct{}{},
		}
	}
	return s
}

func servedTypes() []string {
	return []string{contract.TypeAddress, contract.TypeRoute, contract.TypeCluster, contract.TypeEndpoints, contract.TypeBalanced}
}

// Apply takes an update over and tells the streams that wait for it. What did
// not change is told to nobody.
func (s *Store) Apply(u Update) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := map[*watch][]string{}
	for ref, r := range u.Set {
		c := s.types[ref.Type]
		if old := c.resources[ref.Name]; old.GetVersion() == r.GetVersion() {
			continue
		}
		c.resources[ref.Name] = r
		c.collect(changed, ref.Name)
	}
	for _, ref := range u.Removed {
		c := s.types[ref.Type]
		if c.resources[ref.Name] == nil {
			continue
		}
		delete(c.resources, ref.Name)
		c.collect(changed, ref.Name)
	}
	for w, names := range changed {
		c := s.types[w.request.GetTypeUrl()]
		if s.respond(c, w, c.due(w, names), u.Since) {
			c.remove(w)
		}
	}
	for typ, c := range s.types {
		s.metrics.setResources(typ, len(c.resources))
	}
}

// CreateDeltaWatch answers at once when the stream is owed something, else as
// soon as it is.
func (s *Store) CreateDeltaWatch(req *cache.DeltaRequest, sub cache.Subscription, out chan cache.DeltaResponse) (func(), error) {
	c, ok := s.types[req.GetTypeUrl()]
	if !ok {
		return nil, status.Errorf(codes.InvalidArgument, "type %q is not served (served: %v)", req.GetTypeUrl(), servedTypes())
	}
	names := sub.SubscribedResources()
	if err := judgeWildcard(req.GetTypeUrl(), sub); err != nil {
		return nil, err
	}
	if len(names) > s.maxNames {
		return nil, status.Errorf(codes.ResourceExhausted, "%d names of %q are subscribed to (at most %d are allowed on a stream)",
			len(names), req.GetTypeUrl(), s.maxNames)
	}
	w := &watch{request: req, sub: sub, out: out}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.respond(c, w, c.dueAtFirst(w), time.Time{}) {
		return nil, nil
	}
	c.add(w)
	return func() { s.cancel(c, w) }, nil
}

// judgeWildcard lets only those ask for all of a type who need all of it: of the
// others a proxy needs a few.
func judgeWildcard(typ string, sub cache.Subscription) error {
	switch {
	case !sub.IsWildcard():
		return nil
	case typ != contract.TypeBalanced:
		return status.Errorf(codes.InvalidArgument, "wildcard subscription to %q is not served (subscribe by name)", typ)
	case len(sub.SubscribedResources()) > 0:
		return status.Errorf(codes.InvalidArgument, "subscription to %q by wildcard and by name is not served (subscribe to %q alone, or by name)", typ, contract.Wildcard)
	default:
		return nil
	}
}

// cancel returns only when nothing will be sent any more: go-control-plane
// closes the channel then.
func (s *Store) cancel(c *collection, w *watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.remove(w)
}

// respond sends what is due; false when that is nothing. The first answer to a
// wildcard is sent even so: there is nothing, and the client has to know. It never
// blocks: go-control-plane's channel has room for two responses of each type.
func (s *Store) respond(c *collection, w *watch, due []string, since time.Time) bool {
	if len(due) == 0 && !w.asksForAll() {
		return false
	}
	msg, versions := c.response(w, due)
	w.out <- &response{
		DeltaPassthroughResponse: cache.DeltaPassthroughResponse{
			DeltaRequest:           w.request,
			NextVersionMap:         versions,
			DeltaDiscoveryResponse: msg,
		},
		metrics: s.metrics,
		since:   since,
	}
	return true
}

// response times the push: go-control-plane asks for the message just before
// it sends it.
type response struct {
	cache.DeltaPassthroughResponse
	metrics *Metrics
	since   time.Time
}

// GetDeltaDiscoveryResponse returns the message that is about to be sent.
func (r *response) GetDeltaDiscoveryResponse() (*discoveryv3.DeltaDiscoveryResponse, error) {
	r.metrics.pushed(r.DeltaDiscoveryResponse, r.since)
	return r.DeltaDiscoveryResponse, nil
}

// CreateWatch refuses the state-of-the-world protocol.
func (s *Store) CreateWatch(*cache.Request, cache.Subscription, chan cache.Response) (func(), error) {
	return nil, errNotDelta()
}

// Fetch refuses polling.
func (s *Store) Fetch(context.Context, *cache.Request) (cache.Response, error) {
	return nil, errNotDelta()
}

func errNotDelta() error {
	return status.Error(codes.Unimplemented, "only Delta ADS is served (use DeltaAggregatedResources)")
}

func (c *collection) collect(into map[*watch][]string, name string) {
	for w := range c.watches[name] {
		into[w] = append(into[w], name)
	}
	for w := range c.wildcards {
		into[w] = append(into[w], name)
	}
}

func (c *collection) add(w *watch) {
	if w.sub.IsWildcard() {
		c.wildcards[w] = struct{}{}
		return
	}
	for name := range w.sub.SubscribedResources() {
		if c.watches[name] == nil {
			c.watches[name] = map[*watch]struct{}{}
		}
		c.watches[name][w] = struct{}{}
	}
}

func (c *collection) remove(w *watch) {
	delete(c.wildcards, w)
	for name := range w.sub.SubscribedResources() {
		delete(c.watches[name], w)
		if len(c.watches[name]) == 0 {
			delete(c.watches, name)
		}
	}
}

// versions copies what the stream is known to have, but no more of it than what
// it is still subscribed to.
func (w *watch) versions() map[string]string {
	out := maps.Clone(w.sub.ReturnedResources())
	if out == nil {
		out = map[string]string{}
	}
	if w.sub.IsWildcard() {
		return out
	}
	subscribed := w.sub.SubscribedResources()
	maps.DeleteFunc(out, func(name, _ string) bool {
		_, ok := subscribed[name]
		return !ok
	})
	return out
}
