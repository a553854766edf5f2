// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/shuntmesh/shunt/discovery/model"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/events"
)

// asking is a Service with the annotation, from YAML of its spec.
func asking(t *testing.T, balance, spec string) *corev1.Service {
	t.Helper()
	o := &corev1.Service{ObjectMeta: meta}
	if err := yaml.UnmarshalStrict([]byte(spec), &o.Spec); err != nil {
		t.Fatal(err)
	}
	o.UID = "uid"
	if balance != "" {
		o.Annotations = map[string]string{contract.AnnotationBalance: balance, "other": "annotation"}
	}
	return o
}

func TestJudgeBalance(t *testing.T) {
	tests := []struct {
		name    string
		balance string
		spec    string
		ports   []uint16
		refused string // reason and a part of the message
	}{
		{name: "does not ask", spec: "{clusterIP: 10.96.0.1, ports: [{port: 80}]}"},
		{name: "asks for the default", balance: "proxy", spec: "{clusterIP: 10.96.0.1, ports: [{port: 80}]}"},
		{name: "plain TCP", balance: "connect", spec: "{clusterIP: 10.96.0.1, ports: [{port: 6379}]}", ports: []uint16{6379}},
		{
			name: "names and protocols of plain TCP", balance: "connect",
			spec:  "{clusterIP: 10.96.0.1, ports: [{name: redis, port: 1}, {name: tcp-grpc, port: 2}, {name: triton, port: 3}, {name: grpc, appProtocol: tcp, port: 4}, {name: a, appProtocol: example.com/mysql, port: 5}, {name: u, port: 6, protocol: UDP}]}",
			ports: []uint16{1, 2, 3, 4, 5},
		},
		{
			name: "not explicitly of the defaults", balance: "connect",
			spec:  "{clusterIP: 10.96.0.1, type: LoadBalancer, sessionAffinity: None, internalTrafficPolicy: Cluster, ports: [{port: 80}]}",
			ports: []uint16{80},
		},
		{name: "unknown value", balance: "connct", spec: "{clusterIP: 10.96.0.1, ports: [{port: 80}]}", refused: `annotation: read annotation shunt.dev/balance: "connct" is unknown (allowed: connect, proxy)`},
		{name: "external name", balance: "connect", spec: "{type: ExternalName, externalName: example.com, ports: [{port: 80}]}", refused: "external_name: annotation shunt.dev/balance: connect is not possible: type is ExternalName"},
		{name: "headless", balance: "connect", spec: "{clusterIP: None, ports: [{port: 80}]}", refused: "headless: annotation shunt.dev/balance: connect is not possible: clusterIP is None"},
		{name: "no port", balance: "connect", spec: "{clusterIP: 10.96.0.1}", refused: "no_tcp_port: "},
		{name: "UDP", balance: "connect", spec: "{clusterIP: 10.96.0.1, ports: [{port: 53, protocol: UDP}]}", refused: "no_tcp_port: "},
		{name: "affinity", balance: "connect", spec: "{clusterIP: 10.96.0.1, sessionAffinity: ClientIP, ports: [{port: 80}]}", refused: "session_affinity: annotation shunt.dev/balance: connect is not possible: sessionAffinity is ClientIP"},
		{name: "local", balance: "connect", spec: "{clusterIP: 10.96.0.1, internalTrafficPolicy: Local, ports: [{port: 80}]}", refused: "internal_traffic_policy: annotation shunt.dev/balance: connect is not possible: internalTrafficPolicy is Local"},
		{
			name: "one port of two", balance: "connect",
			spec:  "{clusterIP: 10.96.0.1, ports: [{name: http, port: 80}, {name: tcp, port: 81}]}",
			ports: []uint16{81}, refused: `protocol: annotation shunt.dev/balance: connect is not possible: port 80: name is "http"`,
		},
		{
			name: "an appProtocol beats a name", balance: "connect",
			spec:    "{clusterIP: 10.96.0.1, ports: [{name: tcp, appProtocol: kubernetes.io/h2c, port: 80}]}",
			refused: `port 80: appProtocol is "kubernetes.io/h2c"`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ports, refused := judgeBalance(asking(t, tt.balance, tt.spec))
			if diff := cmp.Diff(tt.ports, ports, compare); diff != "" {
				t.Errorf("ports (-want +got):\n%s", diff)
			}
			said := ""
			for _, r := range refused {
				said += r.reason + ": " + r.message
			}
			if !strings.Contains(said, tt.refused) || (said == "") != (tt.refused == "") {
				t.Errorf("refused %q, want %q", said, tt.refused)
			}
			for _, r := range refused {
				if !slices.Contains(refusalReasons(), r.reason) {
					t.Errorf("reason %q is not among those of the metric", r.reason)
				}
			}
		})
	}
}

func TestProtocolsWithRequests(t *testing.T) {
	for _, text := range []string{"http", "HTTP", "http2", "https", "http-web", "h2c", "grpc", "grpc-web", "kubernetes.io/h2c", "kubernetes.io/ws", "kubernetes.io/wss", "ws", "ws-chat", "websocket", "triple", "tri-greeter", "h2"} {
		if !hasRequestsOf(text) {
			t.Errorf("%q passes for plain TCP", text)
		}
	}
	for _, text := range []string{"", "tcp", "redis", "mysql", "tls", "postgresql", "wsman", "tcp-http", "triton", "h2database", "example.com/tcp"} {
		if hasRequestsOf(text) {
			t.Errorf("%q passes for a protocol with requests", text)
		}
	}
}

// A Service's way through the handler: its opt-in reaches the model, and a
// refusal is told once and counted while it stands.
func TestOptIn(t *testing.T) {
	var told []string
	record := func(h events.Happening) { told = append(told, h.Type+" "+h.Reason+" "+h.Object.Name+": "+h.Message) }
	sink := &services{}
	h := handler{Options: Options{ClusterDomain: "cluster.local", Refusals: NewRefusals(record, slog.New(slog.DiscardHandler)), Log: slog.New(slog.DiscardHandler)}, sink: sink}
	set := func(balance, spec string) {
		t.Helper()
		slimmed, err := slim(asking(t, balance, spec))
		if err != nil {
			t.Fatal(err)
		}
		h.set(slimmed)
	}
	expect := func(what string, atConnect bool, events int, refused map[string]float64) {
		t.Helper()
		if got := sink.last.Ports[0].AtConnect; got != atConnect {
			t.Errorf("%s: balanced at connect %v, want %v", what, got, atConnect)
		}
		if len(told) != events {
			t.Errorf("%s: %d Events, want %d: %q", what, len(told), events, told)
		}
		for reason, got := range standing(t, h.Refusals) {
			if got != refused[reason] {
				t.Errorf("%s: %v refused for %s, want %v", what, got, reason, refused[reason])
			}
		}
	}
	plain, http := "{clusterIP: 10.96.0.1, ports: [{port: 80}]}", "{clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}"
	set("", plain)
	expect("no annotation", false, 0, nil)
	set("connect", plain)
	expect("plain TCP", true, 0, nil)
	set("connect", http)
	expect("HTTP", false, 1, map[string]float64{hasRequests: 1})
	set("connect", http)
	expect("HTTP again", false, 1, map[string]float64{hasRequests: 1})
	set("conect", plain)
	expect("a typing error", false, 2, map[string]float64{badAnnotation: 1})
	set("connect", plain)
	expect("plain TCP again", true, 2, nil)
	set("connect", http)
	h.remove(asking(t, "connect", http))
	expect("gone", false, 3, nil)
	if want := `Warning BalanceRefused greeter: annotation shunt.dev/balance: connect is not possible: port 80: name is "http"`; !strings.HasPrefix(told[0], want) {
		t.Errorf("told %q, want %q", told[0], want)
	}
}

// standing reads the metric by reason.
func standing(t *testing.T, r *Refusals) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(r.Collectors()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, m := range families[0].GetMetric() {
		out[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
	}
	if len(out) != len(refusalReasons()) {
		t.Fatalf("the metric has %v, want all of %v", out, refusalReasons())
	}
	return out
}

// services remembers the last one set.
type services struct{ last *model.Service }

func (s *services) SetService(svc *model.Service) { s.last = svc }
func (s *services) DeleteService(model.Key)       {}
func (s *services) SetSlice(*model.Slice)         {}
func (s *services) DeleteSlice(model.Key)         {}

// FuzzJudgeBalance holds that no port is both balanced and refused, and that a
// Service which does not ask is left alone.
func FuzzJudgeBalance(f *testing.F) {
	f.Add([]byte(`{"clusterIP":"10.96.0.1","ports":[{"name":"http","port":80},{"port":81}]}`), "connect")
	f.Fuzz(func(t *testing.T, spec []byte, balance string) {
		o := &corev1.Service{ObjectMeta: meta}
		if yaml.Unmarshal(spec, &o.Spec) != nil {
			return
		}
		o.Annotations = map[string]string{contract.AnnotationBalance: balance}
		ports, refused := judgeBalance(o)
		if balance != string(contract.BalanceConnect) && len(ports) > 0 {
			t.Fatalf("balance %q: ports %v", balance, ports)
		}
		if balance == string(contract.BalanceConnect) && len(ports) == 0 && len(refused) == 0 && allPortsValid(o) {
			t.Fatalf("asked for, not done and not told: %s", fmt.Sprint(o.Spec))
		}
	})
}

func allPortsValid(o *corev1.Service) bool {
	return !slices.ContainsFunc(o.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port < 1 || p.Port > 65535 })
}
