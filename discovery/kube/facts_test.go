// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/shuntmesh/shunt/discovery/model"
)

var compare = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

var meta = metav1.ObjectMeta{Namespace: "demo", Name: "greeter"}

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}

func ptr[T any](v T) *T { return &v }

func TestService(t *testing.T) {
	http := corev1.ServicePort{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}
	tests := []struct {
		name  string
		spec  corev1.ServiceSpec
		vips  []netip.Addr
		ports []model.Port
		err   string
	}{
		{
			name:  "cluster IP",
			spec:  corev1.ServiceSpec{ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1"}, Ports: []corev1.ServicePort{http}},
			vips:  addrs("10.96.0.1"),
			ports: []model.Port{{Name: "http", Number: 80, Target: 8080}},
		},
		{
			name:  "dual stack",
			spec:  corev1.ServiceSpec{ClusterIP: "fd00::1", ClusterIPs: []string{"fd00::1", "10.96.0.1"}, Ports: []corev1.ServicePort{http}},
			vips:  addrs("10.96.0.1", "fd00::1"),
			ports: []model.Port{{Name: "http", Number: 80, Target: 8080}},
		},
		{
			name: "named target port; UDP is left out; sorted",
			spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1", Ports: []corev1.ServicePort{
				{Name: "grpc", Port: 90, TargetPort: intstr.FromString("grpc"), Protocol: corev1.ProtocolTCP},
				{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
				http,
			}},
			vips:  addrs("10.96.0.1"),
			ports: []model.Port{{Name: "http", Number: 80, Target: 8080}, {Name: "grpc", Number: 90}},
		},
		{
			name:  "headless",
			spec:  corev1.ServiceSpec{ClusterIP: "None", ClusterIPs: []string{"None"}, Ports: []corev1.ServicePort{http}},
			ports: []model.Port{{Name: "http", Number: 80, Target: 8080}},
		},
		{
			name: "external name",
			spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.com", Ports: []corev1.ServicePort{http}},
		},
		{
			name: "load balancer and external IPs are not ours",
			spec: corev1.ServiceSpec{
				Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.96.0.1",
				ExternalIPs: []string{"192.0.2.1"}, LoadBalancerIP: "192.0.2.2",
			},
			vips: addrs("10.96.0.1"),
		},
		{
			name:  "bad parts are named, the rest is used",
			spec:  corev1.ServiceSpec{ClusterIPs: []string{"10.96.0.1", "nonsense"}, Ports: []corev1.ServicePort{http, {Name: "huge", Port: 65536}}},
			vips:  addrs("10.96.0.1"),
			ports: []model.Port{{Name: "http", Number: 80, Target: 8080}},
			err:   "port 65536 is out of range",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := service(&corev1.Service{ObjectMeta: meta, Spec: tt.spec}, "cluster.local")
			if !matches(err, tt.err) {
				t.Errorf("error %v, want one with %q", err, tt.err)
			}
			want := &model.Service{
				Key:  model.Key{Namespace: "demo", Name: "greeter"},
				Host: "greeter.demo.svc.cluster.local", VIPs: tt.vips, Ports: tt.ports,
			}
			if diff := cmp.Diff(want, got, compare); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestHealth(t *testing.T) {
	yes, no := ptr(true), ptr(false)
	tests := []struct {
		name string
		in   discoveryv1.EndpointConditions
		want string
	}{
		{"nothing is said", discoveryv1.EndpointConditions{}, "ready"},
		{"ready", discoveryv1.EndpointConditions{Ready: yes, Serving: yes, Terminating: no}, "ready"},
		{"published though not ready", discoveryv1.EndpointConditions{Ready: yes, Serving: no, Terminating: yes}, "ready"},
		{"terminating, serving", discoveryv1.EndpointConditions{Ready: no, Serving: yes, Terminating: yes}, "draining"},
		{"terminating, not serving", discoveryv1.EndpointConditions{Ready: no, Serving: no, Terminating: yes}, "absent"},
		{"not ready", discoveryv1.EndpointConditions{Ready: no, Serving: yes, Terminating: no}, "absent"},
		{"not ready, nothing else is said", discoveryv1.EndpointConditions{Ready: no}, "absent"},
		{"not ready, terminating", discoveryv1.EndpointConditions{Ready: no, Terminating: yes}, "absent"},
		{"terminating, ready unknown", discoveryv1.EndpointConditions{Terminating: yes}, "ready"},
	}
	for _, tt := range tests {
		h, absent := health(tt.in)
		got := map[bool]string{true: "absent", false: map[model.Health]string{model.Ready: "ready", model.Draining: "draining"}[h]}[absent]
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestSlice(t *testing.T) {
	tests := []struct {
		name string
		yaml string
		want *model.Slice
		err  string
	}{
		{
			name: "ports, zones, pods",
			yaml: `
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}, {name: dns, port: 53, protocol: UDP}, {name: any}]
endpoints:
- addresses: [10.0.0.1]
  conditions: {ready: true}
  zone: a
  targetRef: {kind: Pod, namespace: demo, name: greeter-1}
- addresses: [10.0.0.2]
  conditions: {ready: false, serving: true, terminating: true}
  targetRef: {kind: Pod, name: greeter-2}
- addresses: [10.0.0.3]
  conditions: {ready: false}
  targetRef: {kind: Node, name: node-1}`,
			want: &model.Slice{
				Ports: []model.SlicePort{{Name: "http", Number: 8080}},
				Endpoints: []model.SliceEndpoint{
					{Addrs: addrs("10.0.0.1"), Zone: "a", Pod: model.Key{Namespace: "demo", Name: "greeter-1"}},
					{Addrs: addrs("10.0.0.2"), Health: model.Draining, Pod: model.Key{Namespace: "demo", Name: "greeter-2"}},
					{Addrs: addrs("10.0.0.3"), Absent: true},
				},
			},
		},
		{
			name: "one port without a name",
			yaml: "{addressType: IPv6, ports: [{port: 80}], endpoints: [{addresses: ['fd00::1']}]}",
			want: &model.Slice{
				Ports:     []model.SlicePort{{Number: 80}},
				Endpoints: []model.SliceEndpoint{{Addrs: addrs("fd00::1")}},
			},
		},
		{
			name: "names are no addresses",
			yaml: "{addressType: FQDN, ports: [{port: 80}], endpoints: [{addresses: [example.com]}]}",
			want: &model.Slice{},
		},
		{
			name: "bad parts are named, the rest is used",
			yaml: "{addressType: IPv4, ports: [{port: 0}, {port: 80}], endpoints: [{addresses: [nonsense]}, {addresses: [10.0.0.1]}]}",
			want: &model.Slice{
				Ports:     []model.SlicePort{{Number: 80}},
				Endpoints: []model.SliceEndpoint{{}, {Addrs: addrs("10.0.0.1")}},
			},
			err: `read endpoint address "nonsense"`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := &discoveryv1.EndpointSlice{}
			if err := yaml.Unmarshal([]byte(tt.yaml), in); err != nil {
				t.Fatal(err)
			}
			in.ObjectMeta = meta
			in.Labels = map[string]string{discoveryv1.LabelServiceName: "greeter"}
			got, err := slice(in)
			if !matches(err, tt.err) {
				t.Errorf("error %v, want one with %q", err, tt.err)
			}
			tt.want.Key, tt.want.Service = model.Key{Namespace: "demo", Name: "greeter"}, "greeter"
			if diff := cmp.Diff(tt.want, got, compare); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzSlice feeds whatever an API server might send through to the model.
func FuzzSlice(f *testing.F) {
	f.Add([]byte(`{"addressType":"IPv4","ports":[{"port":80}],"endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":false}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := &discoveryv1.EndpointSlice{}
		if yaml.Unmarshal(data, in) != nil {
			return
		}
		slimmed, err := slim(in)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := slice(slimmed.(*discoveryv1.EndpointSlice))
		b := model.NewBuilder()
		svc := &model.Service{Key: model.Key{Namespace: got.Key.Namespace, Name: got.Service}}
		for i, p := range got.Ports {
			if p.Number == 0 {
				t.Fatalf("port %q has number 0", p.Name)
			}
			svc.Ports = append(svc.Ports, model.Port{Name: p.Name, Number: uint16(i + 1)})
		}
		b.SetService(svc)
		b.SetSlice(got)
		for _, e := range b.Flush().Endpoints {
			for _, endpoints := range e.Ports {
				for _, ep := range endpoints {
					if !ep.Addr.IsValid() {
						t.Fatalf("endpoint without an address: %+v", ep)
					}
				}
			}
		}
	})
}

func matches(err error, want string) bool {
	if want == "" {
		return err == nil
	}
	return err != nil && strings.Contains(err.Error(), want)
}
