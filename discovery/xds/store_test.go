// SPDX-License-Identifier: Apache-2.0

package xds_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/stream/v3"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/shuntmesh/shunt/discovery/xds"
	"github.com/shuntmesh/shunt/internal/contract"
)

const typ = contract.TypeEndpoints

func newStore(t *testing.T, maxNames int) *xds.Store {
	t.Helper()
	return xds.NewStore(maxNames, xds.NewMetrics(prometheus.NewPedanticRegistry()))
}

// set puts resources whose content is their version.
func set(s *xds.Store, versions map[string]string) { setOf(s, typ, versions) }

func setOf(s *xds.Store, typ string, versions map[string]string) {
	u := xds.Update{Set: map[xds.Ref]*discoveryv3.Resource{}}
	for name, v := range versions {
		u.Set[xds.Ref{Type: typ, Name: name}] = &discoveryv3.Resource{
			Name: name, Version: v[:1], Resource: &anypb.Any{TypeUrl: typ, Value: []byte(v)},
		}
	}
	s.Apply(u)
}

func remove(s *xds.Store, name string) { removeOf(s, typ, name) }

func removeOf(s *xds.Store, typ, name string) {
	s.Apply(xds.Update{Removed: []xds.Ref{{Type: typ, Name: name}}})
}

// peer plays go-control-plane's delta server and its client for one type.
type peer struct {
	t      *testing.T
	typ    string
	store  *xds.Store
	sub    stream.Subscription
	opened bool
	cancel func()
	out    chan cache.DeltaResponse
}

func newPeer(t *testing.T, s *xds.Store) *peer {
	return &peer{t: t, typ: typ, store: s, out: make(chan cache.DeltaResponse, 8)}
}

func (p *peer) request(subscribe, unsubscribe []string, initial map[string]string) error {
	p.t.Helper()
	if p.cancel != nil {
		p.cancel()
	}
	if p.opened {
		p.sub.UpdateResourceSubscriptions(subscribe, unsubscribe)
	} else {
		p.opened = true
		p.sub = stream.NewDeltaSubscription(subscribe, unsubscribe, initial, false)
	}
	cancel, err := p.store.CreateDeltaWatch(&cache.DeltaRequest{
		TypeUrl: p.typ, ResourceNamesSubscribe: subscribe, ResourceNamesUnsubscribe: unsubscribe, InitialResourceVersions: initial,
	}, p.sub, p.out)
	p.cancel = cancel
	return err
}

// got returns the next response, "" when there is none, and acknowledges it. An
// empty one is "nothing", and "..." at its end is that more follows.
func (p *peer) got() string {
	p.t.Helper()
	select {
	case r := <-p.out:
		msg, err := r.GetDeltaDiscoveryResponse()
		if err != nil {
			p.t.Fatal(err)
		}
		p.sub.SetReturnedResources(r.GetReturnedResources())
		if err := p.request(nil, nil, nil); err != nil {
			p.t.Fatal(err)
		}
		var out []string
		for _, res := range msg.GetResources() {
			out = append(out, res.GetName()+"="+res.GetVersion())
		}
		for _, name := range msg.GetRemovedResources() {
			out = append(out, "-"+name)
		}
		if msg.GetSystemVersionInfo() == contract.PartialResponse {
			out = append(out, "...")
		}
		return cmp.Or(strings.Join(out, " "), "nothing")
	default:
		return ""
	}
}

func (p *peer) expect(what, want string) {
	p.t.Helper()
	if diff := gocmp.Diff(want, p.got()); diff != "" {
		p.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func (p *peer) mustRequest(subscribe, unsubscribe []string, initial map[string]string) {
	p.t.Helper()
	if err := p.request(subscribe, unsubscribe, initial); err != nil {
		p.t.Fatal(err)
	}
}

func TestStoreAnswersByName(t *testing.T) {
	s := newStore(t, 100)
	set(s, map[string]string{"a": "1", "b": "1", "c": "1"})
	p := newPeer(t, s)
	p.mustRequest([]string{"a", "none"}, nil, nil)
	p.expect("a and a name that does not exist, at once", "a=1 -none")
	p.expect("nothing more", "")

	set(s, map[string]string{"b": "2"})
	p.expect("b is not subscribed to", "")
	set(s, map[string]string{"a": "1"})
	p.expect("a as it was", "")
	set(s, map[string]string{"a": "2"})
	p.expect("a changes", "a=2")
	set(s, map[string]string{"none": "1"})
	p.expect("it appears", "none=1")
	remove(s, "none")
	remove(s, "none")
	p.expect("it goes", "-none")
	p.expect("it goes once", "")

	p.mustRequest([]string{"b"}, []string{"a"}, nil)
	p.expect("b is added", "b=2")
	set(s, map[string]string{"a": "3"})
	p.expect("a is no longer subscribed to", "")
}

func TestStoreMergesWhatWaits(t *testing.T) {
	s := newStore(t, 100)
	p := newPeer(t, s)
	p.mustRequest([]string{"a", "b"}, nil, nil)
	p.expect("neither exists", "-a -b")
	// The first change takes the one response in flight.
	set(s, map[string]string{"a": "1"})
	for _, v := range []string{"1", "2", "3"} {
		set(s, map[string]string{"a": v, "b": v})
	}
	p.expect("the first", "a=1")
	p.expect("the rest, merged", "a=3 b=3")
	p.expect("nothing more", "")
}

func TestStoreResumes(t *testing.T) {
	s := newStore(t, 100)
	set(s, map[string]string{"same": "1", "changed": "2", "new": "1"})
	p := newPeer(t, s)
	p.mustRequest([]string{"same", "changed", "new", "gone"}, nil,
		map[string]string{"same": "1", "changed": "1", "gone": "1"})
	p.expect("only what is different", "changed=2 new=1 -gone")
}

// A response that crosses an unsubscription leaves go-control-plane with the
// belief that the stream has what it dropped.
func TestStoreAnswersRepeatedSubscription(t *testing.T) {
	s := newStore(t, 100)
	set(s, map[string]string{"a": "1"})
	p := newPeer(t, s)
	p.mustRequest([]string{"a", "none"}, nil, nil)
	p.expect("first", "a=1 -none")
	p.mustRequest([]string{"a", "none"}, nil, nil)
	p.expect("again", "a=1 -none")
}

func TestStoreSplitsResponses(t *testing.T) {
	s := newStore(t, 100)
	big := map[string]string{"huge": strings.Repeat("x", 100<<10)}
	for i := range 10 {
		big[fmt.Sprintf("big-%d", i)] = strings.Repeat("x", 7<<10)
	}
	set(s, big)
	p := newPeer(t, s)
	var names []string
	for name := range big {
		names = append(names, name)
	}
	p.mustRequest(names, nil, nil)
	seen, alone := 0, false
	for range 20 {
		select {
		case r := <-p.out:
			msg, _ := r.GetDeltaDiscoveryResponse()
			n := len(msg.GetResources())
			if size := proto.Size(msg); size >= 32<<10 && n > 1 {
				t.Errorf("a response of %d resources has %d bytes", n, size)
			}
			alone = alone || n == 1 && msg.GetResources()[0].GetName() == "huge"
			seen += n
			p.sub.SetReturnedResources(r.GetReturnedResources())
			p.mustRequest(nil, nil, nil)
		default:
		}
	}
	if seen != len(big) || !alone {
		t.Errorf("%d resources arrived, want %d; the huge one alone: %v", seen, len(big), alone)
	}
}

func TestStoreRefuses(t *testing.T) {
	s := newStore(t, 2)
	tests := []struct {
		name string
		typ  string
		subs []string
		code codes.Code
		text string
	}{
		{name: "wildcard", typ: typ, subs: []string{"*"}, code: codes.InvalidArgument, text: "subscribe by name"},
		{name: "a type", typ: "type.googleapis.com/envoy.config.listener.v3.Listener", subs: []string{"a"}, code: codes.InvalidArgument, text: "is not served (served:"},
		{name: "wildcard and a name", typ: contract.TypeBalanced, subs: []string{"*", "a"}, code: codes.InvalidArgument, text: `subscribe to "*" alone`},
		{name: "too many names", typ: typ, subs: []string{"a", "b", "c"}, code: codes.ResourceExhausted, text: "at most 2"},
	}
	for _, tt := range tests {
		sub := stream.NewDeltaSubscription(tt.subs, nil, nil, false)
		_, err := s.CreateDeltaWatch(&cache.DeltaRequest{TypeUrl: tt.typ, ResourceNamesSubscribe: tt.subs}, sub, make(chan cache.DeltaResponse, 1))
		if status.Code(err) != tt.code || !strings.Contains(fmt.Sprint(err), tt.text) {
			t.Errorf("%s: %v, want %v with %q", tt.name, err, tt.code, tt.text)
		}
	}
	if _, err := s.CreateWatch(nil, nil, nil); status.Code(err) != codes.Unimplemented {
		t.Errorf("state of the world: %v, want Unimplemented", err)
	}
	if _, err := s.Fetch(t.Context(), nil); status.Code(err) != codes.Unimplemented {
		t.Errorf("polling: %v, want Unimplemented", err)
	}
}
