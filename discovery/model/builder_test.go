// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/shuntmesh/shunt/discovery/model"
)

var compare = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

// picture is everything that changes said so far.
type picture struct {
	Services  map[model.Key]*model.Service
	Endpoints map[model.Key]map[uint16][]model.Endpoint
	Addresses map[netip.Addr]model.Address
}

func newPicture() *picture {
	return &picture{
		Services:  map[model.Key]*model.Service{},
		Endpoints: map[model.Key]map[uint16][]model.Endpoint{},
		Addresses: map[netip.Addr]model.Address{},
	}
}

// take applies changes as a consumer does.
func (p *picture) take(c model.Changes) {
	for _, s := range c.Services {
		if s.Old != nil {
			delete(p.Services, s.Old.Key)
			delete(p.Endpoints, s.Old.Key)
		}
		if s.New != nil {
			p.Services[s.New.Key] = s.New
		}
	}
	for _, e := range c.Endpoints {
		p.Endpoints[e.Service.Key] = e.Ports
	}
	for ip, a := range c.Addresses {
		if a == (model.Address{}) {
			delete(p.Addresses, ip)
		} else {
			p.Addresses[ip] = a
		}
	}
}

var greeter = model.Key{Namespace: "demo", Name: "greeter"}

func service(vips ...string) *model.Service {
	s := &model.Service{Key: greeter, Host: "greeter.demo.svc.cluster.local", Ports: []model.Port{
		{Name: "http", Number: 80, Target: 8080}, {Name: "grpc", Number: 90},
	}}
	for _, v := range vips {
		s.VIPs = append(s.VIPs, netip.MustParseAddr(v))
	}
	return s
}

func slice(name string, endpoints ...model.SliceEndpoint) *model.Slice {
	return &model.Slice{
		Key: model.Key{Namespace: "demo", Name: name}, Service: "greeter",
		Ports:     []model.SlicePort{{Name: "http", Number: 8080}, {Name: "grpc", Number: 9090}},
		Endpoints: endpoints,
	}
}

func pod(ip, name string) model.SliceEndpoint {
	return model.SliceEndpoint{
		Addrs: []netip.Addr{netip.MustParseAddr(ip)},
		Pod:   model.Key{Namespace: "demo", Name: name},
	}
}

func draining(e model.SliceEndpoint) model.SliceEndpoint {
	e.Health = model.Draining
	return e
}

func away(e model.SliceEndpoint) model.SliceEndpoint {
	e.Absent = true
	return e
}

func zoned(e model.SliceEndpoint, zone string) model.SliceEndpoint {
	e.Zone = zone
	return e
}

func TestBuilder(t *testing.T) {
	named := func(name string, ports ...model.SlicePort) *model.Slice {
		s := slice(name, pod("10.0.0.9", "nine"))
		s.Ports = ports
		return s
	}
	tests := []struct {
		name  string
		facts func(*model.Builder)
		http  []string // endpoints of port 80, with health and zone
		grpc  []string // of port 90
		addrs map[string]string
	}{
		{
			name: "slice after service",
			facts: func(b *model.Builder) {
				b.SetService(service("10.96.0.1"))
				b.SetSlice(slice("a", pod("10.0.0.2", "two"), pod("10.0.0.1", "one")))
			},
			http:  []string{"10.0.0.1:8080", "10.0.0.2:8080"},
			grpc:  []string{"10.0.0.1:9090", "10.0.0.2:9090"},
			addrs: map[string]string{"10.96.0.1": "service greeter", "10.0.0.1": "pod one", "10.0.0.2": "pod two"},
		},
		{
			name: "slice before service",
			facts: func(b *model.Builder) {
				b.SetSlice(slice("a", pod("10.0.0.1", "one")))
				b.SetService(service("10.96.0.1"))
			},
			http:  []string{"10.0.0.1:8080"},
			grpc:  []string{"10.0.0.1:9090"},
			addrs: map[string]string{"10.96.0.1": "service greeter", "10.0.0.1": "pod one"},
		},
		{
			name: "dual stack, a slice for each family",
			facts: func(b *model.Builder) {
				b.SetService(service("10.96.0.1", "fd00::1"))
				b.SetSlice(slice("v6", pod("fd01::1", "one")))
				b.SetSlice(slice("v4", pod("10.0.0.1", "one")))
			},
			http:  []string{"10.0.0.1:8080", "[fd01::1]:8080"},
			grpc:  []string{"10.0.0.1:9090", "[fd01::1]:9090"},
			addrs: map[string]string{"10.96.0.1": "service greeter", "fd00::1": "service greeter", "10.0.0.1": "pod one", "fd01::1": "pod one"},
		},
		{
			name: "an endpoint in two slices is one, and ready if either says so",
			facts: func(b *model.Builder) {
				b.SetService(service())
				b.SetSlice(slice("a", draining(pod("10.0.0.1", "one"))))
				b.SetSlice(slice("b", pod("10.0.0.1", "one")))
			},
			http:  []string{"10.0.0.1:8080"},
			grpc:  []string{"10.0.0.1:9090"},
			addrs: map[string]string{"10.0.0.1": "pod one"},
		},
		{
			name: "health and zones",
			facts: func(b *model.Builder) {
				b.SetService(service())
				b.SetSlice(slice("a", zoned(pod("10.0.0.1", "one"), "b"), draining(pod("10.0.0.2", "two")), away(pod("10.0.0.3", "three"))))
			},
			http:  []string{"10.0.0.1:8080 zone b", "10.0.0.2:8080 draining"},
			grpc:  []string{"10.0.0.1:9090 zone b", "10.0.0.2:9090 draining"},
			addrs: map[string]string{"10.0.0.1": "pod one", "10.0.0.2": "pod two", "10.0.0.3": "pod three"},
		},
		{
			name: "a named target port differs from slice to slice",
			facts: func(b *model.Builder) {
				b.SetService(service())
				b.SetSlice(named("old", model.SlicePort{Name: "grpc", Number: 1111}))
				b.SetSlice(named("new", model.SlicePort{Name: "grpc", Number: 2222}))
			},
			grpc:  []string{"10.0.0.9:1111", "10.0.0.9:2222"},
			addrs: map[string]string{"10.0.0.9": "pod nine"},
		},
		{
			name: "an address that was handed on belongs to the pod in use",
			facts: func(b *model.Builder) {
				b.SetSlice(slice("a", draining(pod("10.0.0.1", "a-old"))))
				b.SetSlice(slice("b", pod("10.0.0.1", "z-new")))
			},
			addrs: map[string]string{"10.0.0.1": "pod z-new"},
		},
		{
			name: "a slice that changes its service",
			facts: func(b *model.Builder) {
				b.SetService(service())
				b.SetSlice(slice("a", pod("10.0.0.1", "one")))
				other := slice("a", pod("10.0.0.1", "one"))
				other.Service = "other"
				b.SetSlice(other)
			},
			addrs: map[string]string{"10.0.0.1": "pod one"},
		},
		{
			name: "deleted",
			facts: func(b *model.Builder) {
				b.SetService(service("10.96.0.1"))
				b.SetSlice(slice("a", pod("10.0.0.1", "one")))
				b.DeleteSlice(model.Key{Namespace: "demo", Name: "a"})
				b.DeleteService(greeter)
				b.DeleteService(greeter)
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, p := model.NewBuilder(), newPicture()
			tt.facts(b)
			p.take(b.Flush())
			got := p.Endpoints[greeter]
			if diff := cmp.Diff(tt.http, text(got[80]), compare); diff != "" {
				t.Errorf("port 80 (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.grpc, text(got[90]), compare); diff != "" {
				t.Errorf("port 90 (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.addrs, addressText(p.Addresses), compare); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
			if again := b.Flush(); !again.Empty() {
				t.Errorf("a second Flush has %+v", again)
			}
		})
	}
}

func TestFlushIsIncremental(t *testing.T) {
	b := model.NewBuilder()
	b.SetService(service("10.96.0.1"))
	b.SetSlice(slice("a", pod("10.0.0.1", "one")))
	other := service("10.96.0.2")
	other.Key.Name = "other"
	b.SetService(other)
	b.Flush()

	b.SetSlice(slice("a", pod("10.0.0.1", "one"), pod("10.0.0.2", "two")))
	c := b.Flush()
	if len(c.Services) != 0 || len(c.Endpoints) != 1 || c.Endpoints[0].Service.Key != greeter {
		t.Errorf("a slice changed services %v and endpoints of %d services", c.Services, len(c.Endpoints))
	}
	if _, touched := c.Addresses[netip.MustParseAddr("10.0.0.1")]; touched {
		t.Error("a pod that stayed as it was is among the changes")
	}
	moved := service("10.96.0.7")
	b.SetService(moved)
	c = b.Flush()
	want := map[string]string{"10.96.0.1": "nothing", "10.96.0.7": "service greeter"}
	if diff := cmp.Diff(want, addressText(c.Addresses)); diff != "" {
		t.Errorf("addresses of a service that moved (-want +got):\n%s", diff)
	}
}

func text(endpoints []model.Endpoint) []string {
	var out []string
	for _, e := range endpoints {
		s := e.Addr.String()
		if e.Health == model.Draining {
			s += " draining"
		}
		if e.Zone != "" {
			s += " zone " + e.Zone
		}
		out = append(out, s)
	}
	return out
}

func addressText(addrs map[netip.Addr]model.Address) map[string]string {
	out := map[string]string{}
	for ip, a := range addrs {
		switch {
		case a.Service != nil:
			out[ip.String()] = "service " + a.Service.Key.Name
		case a.Workload != nil:
			out[ip.String()] = "pod " + a.Workload.Key.Name
		default:
			out[ip.String()] = "nothing"
		}
	}
	return out
}

// FuzzBuilder checks that small steps lead to where one large step does, in
// whatever order facts come.
func FuzzBuilder(f *testing.F) {
	f.Add([]byte{0, 0, 1, 2, 33, 70, 200})
	f.Fuzz(func(t *testing.T, ops []byte) {
		step, p := model.NewBuilder(), newPicture()
		services, slicesByKey := map[model.Key]*model.Service{}, map[model.Key]*model.Slice{}
		for i, op := range ops {
			name := model.Key{Namespace: "demo", Name: string('a' + rune(op>>2&3))}
			switch op & 3 {
			case 0:
				s := service("10.96.0."+string('1'+rune(op>>4&3)), "fd00::"+string('1'+rune(op>>6)))
				s.Key = name
				services[name] = s
				step.SetService(s)
			case 1:
				delete(services, name)
				step.DeleteService(name)
			case 2:
				s := slice(name.Name, fuzzedEndpoints(op>>4, i)...)
				s.Service = string('a' + rune(op>>6))
				slicesByKey[s.Key] = s
				step.SetSlice(s)
			case 3:
				delete(slicesByKey, name)
				step.DeleteSlice(name)
			}
			if i%3 != 0 {
				p.take(step.Flush())
			}
		}
		p.take(step.Flush())

		once, want := model.NewBuilder(), newPicture()
		for _, s := range slicesByKey {
			once.SetSlice(s)
		}
		for _, s := range services {
			once.SetService(s)
		}
		want.take(once.Flush())
		if diff := cmp.Diff(want, p, compare); diff != "" {
			t.Fatalf("in one step (-) and in %d (+):\n%s", len(ops), diff)
		}
		for _, ports := range p.Endpoints {
			for _, endpoints := range ports {
				addrs := func(a, b model.Endpoint) int { return a.Addr.Compare(b.Addr) }
				if !slices.IsSortedFunc(endpoints, addrs) {
					t.Fatalf("not sorted: %v", endpoints)
				}
			}
		}
	})
}

func fuzzedEndpoints(bits byte, i int) []model.SliceEndpoint {
	var out []model.SliceEndpoint
	for n := range int(bits & 3) {
		e := pod("10.0.0."+string('1'+rune(n)), "pod-"+string('a'+rune(i%3)))
		e.Health = model.Health(i >> n & 1)
		e.Absent = i>>n&2 != 0
		out = append(out, e)
	}
	return out
}

// Who is not ready is known to nobody but those who balance at connect, whose
// connections it keeps.
func TestUnready(t *testing.T) {
	b := model.NewBuilder()
	svc := service("10.96.0.1")
	svc.Ports[1].AtConnect = true
	b.SetService(svc)
	b.SetSlice(slice("a", pod("10.0.0.1", "one"), away(pod("10.0.0.2", "two")), draining(pod("10.0.0.3", "three"))))
	b.SetSlice(slice("b", away(pod("10.0.0.1", "one")), away(pod("10.0.0.2", "two")), away(pod("10.0.0.4", "four"))))
	want := map[uint16][]netip.AddrPort{90: {netip.MustParseAddrPort("10.0.0.2:9090"), netip.MustParseAddrPort("10.0.0.4:9090")}}
	if diff := cmp.Diff(want, b.Flush().Endpoints[0].Unready, compare); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	b.SetService(service("10.96.0.1"))
	if got := b.Flush().Endpoints[0].Unready; got != nil {
		t.Errorf("unready of a service that isn't balanced at connect: %v", got)
	}
}
