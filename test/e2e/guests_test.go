// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// stored is what `app etcd` prints.
type stored struct{ Puts, Gets, Watched int }

// TestEtcd has an injected etcd asked by an injected client, in gRPC and in
// HTTP/1.1 on the same port: etcd tells them apart, and so must both sidecars.
func TestEtcd(t *testing.T) {
	const keys = 200
	before := requests(t, "client")
	got := decode[stored](t, in(t, mesh, "client", "app", "etcd", "-n", "200", "etcd:2379"))
	if (got != stored{keys, keys, keys}) {
		t.Errorf("%+v, want %d of each", got, keys)
	}
	for _, tt := range []struct{ path, json, want string }{
		{"/health", "", `"health":"true"`},
		{"/version", "", `"etcdserver":"3.`},
		{"/v3/kv/put", `{"key":"YQ==","value":"Yg=="}`, `"revision"`},
		{"/v3/kv/range", `{"key":"YQ=="}`, `"value":"Yg=="`},
	} {
		args := []string{"app", "http"}
		if tt.json != "" {
			args = append(args, "-json", tt.json)
		}
		if got := in(t, mesh, "client", append(args, "http://etcd:2379"+tt.path)...); !strings.Contains(got, tt.want) {
			t.Errorf("%s answered %q, want %s in it", tt.path, got, tt.want)
		}
	}
	after := requests(t, "client")
	grpc, http1 := after["http2"]-before["http2"], after["http1"]-before["http1"]
	if grpc < 2*keys || http1 < 4 {
		t.Errorf("the client's proxy counted %v requests of HTTP/2 and %v of HTTP/1.1, want %d and 4", grpc, http1, 2*keys)
	}
	figure("e2e.etcd.grpc_requests", grpc, "requests")
	figure("e2e.etcd.http1_requests", http1, "requests")
}

// run is what of fortio's report matters here.
type run struct {
	ActualQPS         float64
	RetCodes          map[string]int
	DurationHistogram struct{ Count int }
}

// TestFortio has fortio load its own injected servers from an injected client:
// in each protocol every request is answered well, and both replicas have some.
func TestFortio(t *testing.T) {
	const calls = 5000
	for _, tt := range []struct {
		name, protocol, good string
		args                 []string
	}{
		{"http1", "http1", "200", []string{"http://fortio:8080/echo?size=1000"}},
		{"http1_std", "http1", "200", []string{"-stdclient", "-payload-size=3000", "http://fortio:8080/echo"}},
		{"http2", "http2", "200", []string{"-stdclient", "-h2", "http://fortio:8080/echo?size=1000"}},
		{"grpc_health", "http2", "SERVING", []string{"-grpc", "fortio:8079"}},
		{"grpc_ping", "http2", "SERVING", []string{"-grpc", "-ping", "-payload-size=1000", "-s=4", "fortio:8079"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := requests(t, "client")
			args := append([]string{"fortio", "load", "-qps=0", "-c=8", "-n=5000", "-quiet", "-json=-"}, tt.args...)
			got := decode[run](t, in(t, mesh, "client", args...))
			if len(got.RetCodes) != 1 || got.RetCodes[tt.good] != calls {
				t.Errorf("answers %v, want %d of %s", got.RetCodes, calls, tt.good)
			}
			if n := requests(t, "client")[tt.protocol] - before[tt.protocol]; n < calls {
				t.Errorf("the client's proxy counted %v requests of %s, want %d: some went around it", n, tt.protocol, calls)
			}
			figure("e2e.fortio."+tt.name, int(got.ActualQPS), "requests/s")
		})
	}
	for _, pod := range podsOf(t, mesh, "app=fortio") {
		if n := sum(t, mesh, pod, "shunt_proxy_requests_total", "inbound", ""); n < 2*calls {
			t.Errorf("%s has had %v requests, half is %d", pod, n, 5*calls/2)
		}
	}
}

// requests is what the proxy of a pod of the mesh has sent, by protocol.
func requests(t *testing.T, pod string) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for _, protocol := range []string{"http1", "http2"} {
		out[protocol] = sum(t, mesh, pod, "shunt_proxy_requests_total", "outbound", protocol)
	}
	return out
}
