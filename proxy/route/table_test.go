// SPDX-License-Identifier: Apache-2.0

package route_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/proxy/route"
)

func TestMatch(t *testing.T) {
	to := func(name string) route.Route { return route.Route{Name: name, Cluster: name} }
	table, err := route.NewTable(
		route.Host{Domains: []string{"*"}, Rules: []route.Rule{{Prefix: "/", Route: to("any")}}},
		route.Host{Domains: []string{"*.example.com"}, Rules: []route.Rule{{Route: to("suffix")}}},
		route.Host{Domains: []string{"*.b.example.com"}, Rules: []route.Rule{{Route: to("longer suffix")}}},
		route.Host{Domains: []string{"api.*"}, Rules: []route.Rule{{Route: to("prefix")}}},
		route.Host{Domains: []string{"api.example.com", "[fd00::1]", "fd00::2"}, Rules: []route.Rule{
			{Path: "/exact", Method: "POST", Route: to("exact POST")},
			{Path: "/exact", Route: to("exact")},
			{Prefix: "/v1/", Route: to("v1")},
		}},
	)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ authority, method, path, want string }{
		{"api.example.com", "GET", "/exact", "exact"},
		{"API.example.com:8080", "POST", "/exact?q=/v1/", "exact POST"},
		{"api.example.com", "GET", "/v1/x", "v1"},
		{"api.example.com", "GET", "/v2", ""}, // the most specific domain alone decides
		{"[fd00::1]:80", "GET", "/v1/", "v1"},
		{"fd00::2", "GET", "/v1/", "v1"},
		{"a.example.com", "GET", "/", "suffix"},
		{"a.b.example.com", "GET", "/", "longer suffix"},
		{"example.com", "GET", "/", "any"},
		{".example.com", "GET", "/", "any"},
		{"api.org", "GET", "/", "prefix"},
		{"", "OPTIONS", "*", "any"},
		{"host:443", "CONNECT", "", "any"},
	}
	for _, tt := range tests {
		got, ok := table.Match(route.Request{Authority: tt.authority, Method: tt.method, Path: tt.path})
		if got.Name != tt.want || ok != (tt.want != "") {
			t.Errorf("%s %s%s: got route %q, %t; want %q", tt.method, tt.authority, tt.path, got.Name, ok, tt.want)
		}
	}
}

func TestNewTableRefuses(t *testing.T) {
	for domain, want := range map[string]string{"": "malformed", "**": "malformed", "a.*.b": "inside", "A.b": "twice"} {
		_, err := route.NewTable(route.Host{Domains: []string{"a.b"}}, route.Host{Domains: []string{domain}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("domain %q: error %v, want one with %q", domain, err, want)
		}
	}
}

func TestNilTableMatchesNothing(t *testing.T) {
	var table *route.Table
	if got, ok := table.Match(route.Request{Path: "/"}); ok {
		t.Errorf("got %v", got)
	}
}

func ExampleToCluster() {
	table := route.ToCluster("outbound|80||greeter.demo.svc.cluster.local")
	r, _ := table.Match(route.Request{Authority: "greeter", Method: "POST", Path: "/hello.Greeter/SayHello"})
	fmt.Println(r.Cluster)
	// Output: outbound|80||greeter.demo.svc.cluster.local
}

func FuzzMatch(f *testing.F) {
	f.Add("*.example.com", "a.example.com:80", "/x")
	f.Fuzz(func(t *testing.T, domain, authority, path string) {
		table, err := route.NewTable(
			route.Host{Domains: []string{domain}, Rules: []route.Rule{{Prefix: path}}})
		if err != nil {
			return
		}
		if _, ok := table.Match(route.Request{Authority: authority, Path: path}); !ok && domain == "*" && !strings.Contains(path, "?") {
			t.Fatalf("domain * with prefix %q does not match %q", path, authority)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	table := route.ToCluster("c")
	r := route.Request{Authority: "greeter:80", Method: "POST", Path: "/hello.Greeter/SayHello"}
	b.ReportAllocs()
	for b.Loop() {
		table.Match(r)
	}
}
