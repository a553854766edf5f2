// SPDX-License-Identifier: Apache-2.0

package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/shuntmesh/shunt/discovery"
	"github.com/shuntmesh/shunt/discovery/auth"
	"github.com/shuntmesh/shunt/discovery/kube"
	"github.com/shuntmesh/shunt/internal/ca"
	"github.com/shuntmesh/shunt/internal/events"
	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/route"
	"github.com/shuntmesh/shunt/proxy/xds"
)

const (
	goodToken  = "a good token"
	serverName = "shunt-discovery.shunt-system.svc"
	localhost  = "localhost"
	eventually = 5 * time.Second
)

// cluster is a fake API server's content and a CA, which replicas share.
type cluster struct {
	clients   *fake.Clientset
	authority *ca.Authority
	away      atomic.Bool // the API server's token reviews
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	authority, err := ca.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{clients: fake.NewClientset(), authority: authority}
}

// Review implements auth.Reviewer.
func (c *cluster) Review(_ context.Context, token string) (string, error) {
	switch {
	case c.away.Load():
		return "", errors.New("connection refused")
	case token != goodToken:
		return "", fmt.Errorf("%w: unknown", auth.ErrRejected)
	}
	return "system:serviceaccount:demo:default", nil
}

// replica is a running discovery.
type replica struct {
	ads, http string
	stop      func()
}

// start runs a replica against the fake API server.
func (c *cluster) start(t testing.TB, listen string) *replica {
	t.Helper()
	return c.startWith(t, listen, func(sink kube.Sink) discovery.Source {
		log := slog.New(slog.DiscardHandler)
		return kube.NewSource(c.clients.CoreV1(), c.clients.DiscoveryV1(), kube.Options{
			ClusterDomain: "cluster.local", Refusals: kube.NewRefusals(func(events.Happening) {}, log), Log: log,
		}, sink)
	})
}

func (c *cluster) startWith(t testing.TB, listen string, source func(kube.Sink) discovery.Source) *replica {
	t.Helper()
	return c.startAt(t, listen, "127.0.0.1:0", source)
}

func (c *cluster) startAt(t testing.TB, listen, listenHTTP string, source func(kube.Sink) discovery.Source) *replica {
	t.Helper()
	leaf, err := ca.NewLeaf(c.authority, time.Hour, serverName, localhost)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	type addrs struct{ ads, http net.Addr }
	listening, done := make(chan addrs, 1), make(chan error, 1)
	go func() {
		done <- discovery.Run(ctx, discovery.Options{
			Log:         logTo(t),
			Listen:      listen,
			ListenHTTP:  listenHTTP,
			Source:      source,
			Reviewer:    c,
			Certificate: leaf.GetCertificate,
			Listening:   func(ads, http net.Addr) { listening <- addrs{ads, http} },
		})
	}()
	var stopped bool
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	select {
	case a := <-listening:
		return &replica{ads: a.ads.String(), http: a.http.String(), stop: stop}
	case err := <-done:
		t.Fatalf("Run ended: %v", err)
	case <-time.After(eventually):
		t.Fatal("discovery does not listen")
	}
	return nil
}

// logTo logs into a test; a benchmark's output is for figures.
func logTo(t testing.TB) *slog.Logger {
	if _, ok := t.(*testing.B); ok {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

func (c *cluster) connect(t testing.TB, address, token string) *xds.Client {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := xds.NewClient(xds.Options{
		Address: address, ServerName: serverName, CAPEM: c.authority.CertPEM(), TokenFile: file,
		NodeID: t.Name(), Log: logTo(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- client.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("client: %v", err)
		}
	})
	return client
}

func greeter(vip string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "greeter"},
		Spec: corev1.ServiceSpec{
			ClusterIP: vip, ClusterIPs: []string{vip},
			Ports: []corev1.ServicePort{{Name: "grpc", Port: 80, TargetPort: intstr.FromString("grpc")}},
		},
	}
}

// greeterSlice has the pods 10.1.0.<n>, all ready but for those below zero,
// which are terminating and still serving.
func greeterSlice(pods ...int) *discoveryv1.EndpointSlice {
	name, port, yes, no := "grpc", int32(8080), true, false
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "demo", Name: "greeter-x7k2p",
			Labels: map[string]string{discoveryv1.LabelServiceName: "greeter"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
	}
	for _, n := range pods {
		e := discoveryv1.Endpoint{Conditions: discoveryv1.EndpointConditions{Ready: &yes}}
		if n < 0 {
			n = -n
			e.Conditions = discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}
		}
		e.Addresses = []string{fmt.Sprintf("10.1.0.%d", n)}
		e.TargetRef = &corev1.ObjectReference{Kind: "Pod", Namespace: "demo", Name: fmt.Sprintf("greeter-%d", n)}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

func (c *cluster) put(t *testing.T, svc *corev1.Service, slice *discoveryv1.EndpointSlice) {
	t.Helper()
	ctx := t.Context()
	if svc != nil {
		if _, err := c.clients.CoreV1().Services(svc.Namespace).Create(ctx, svc, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if slice == nil {
		return
	}
	slices := c.clients.DiscoveryV1().EndpointSlices(slice.Namespace)
	if _, err := slices.Update(ctx, slice, metav1.UpdateOptions{}); err == nil {
		return
	}
	if _, err := slices.Create(ctx, slice, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// endpointsOf follows a destination to its endpoints, as the data path does.
func endpointsOf(s *xds.Snapshot, ap string) string {
	d, known := s.Destination(netip.MustParseAddrPort(ap))
	if !known {
		return "unknown"
	}
	if d.Service == nil {
		return "no service"
	}
	r, ok := d.Service.Routes.Match(route.Request{Path: "/"})
	if !ok {
		return "no route"
	}
	c, ok := s.Cluster(r.Cluster)
	if !ok {
		return "no cluster"
	}
	var tried []*balance.Endpoint
	var out []string
	for {
		e, ok := c.Picker.Pick(balance.Request{Tried: tried})
		if !ok {
			break
		}
		tried = append(tried, e)
		out = append(out, e.Addr().String())
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func waitFor(t *testing.T, what string, want string, got func() string) {
	t.Helper()
	deadline := time.Now().Add(eventually)
	for got() != want {
		if time.Now().After(deadline) {
			t.Fatalf("%s is %q, want %q", what, got(), want)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
