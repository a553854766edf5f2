// SPDX-License-Identifier: Apache-2.0

package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/shuntmesh/shunt/discovery"
	"github.com/shuntmesh/shunt/discovery/auth"
	"github.com/shuntmesh/shunt/discovery/kube"
	"github.com/shuntmesh/shunt/internal/ca"
	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/route"
	"github.com/shuntmesh/shunt/proxy/xds"
)

const (
	goodToken  = "a good token"
	serverName = "shunt-discovery.shunt-system.svc"
	eventually = 5 * time.Second
)

// cluster is a fake API server's content and a CA, which replicas share.
type cluster struct {
	clients   *fake.Clientset
	authority *ca.Authority
	away      atomic.Bool // the API server's token reviews
}

func newCluster(t *testing.T) *cluster {
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

func (c *cluster) start(t *testing.T, listen string) *replica {
	t.Helper()
	leaf, err := ca.NewLeaf(c.authority, time.Hour, serverName)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	type addrs struct{ ads, http net.Addr }
	listening, done := make(chan addrs, 1), make(chan error, 1)
	go func() {
		done <- discovery.Run(ctx, discovery.Options{
			Log:        slog.New(slog.NewTextHandler(t.Output(), nil)),
			Listen:     listen,
			ListenHTTP: "127.0.0.1:0",
			Source: func(sink kube.Sink) discovery.Source {
				return kube.NewSource(c.clients.CoreV1(), c.clients.DiscoveryV1(), "cluster.local", sink, slog.New(slog.DiscardHandler))
			},
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

func (c *cluster) connect(t *testing.T, address, token string) *xds.Client {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := xds.NewClient(xds.Options{
		Address: address, ServerName: serverName, CAPEM: c.authority.CertPEM(), TokenFile: file,
		NodeID: t.Name(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
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

func TestEndToEnd(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("one cluster", testEndToEnd)
}

func testEndToEnd(t *testing.T) {
	c := newCluster(t)
	c.put(t, greeter("10.96.0.10"), greeterSlice(1, 2))
	r := c.start(t, "127.0.0.1:0")
	client := c.connect(t, r.ads, goodToken)
	vip := "10.96.0.10:80"

	begin := time.Now()
	d, err := client.Resolve(t.Context(), netip.MustParseAddrPort(vip))
	if err != nil || d.Service == nil {
		t.Fatalf("Resolve: %+v, %v", d, err)
	}
	t.Logf("first Resolve, with connecting: %v", time.Since(begin))
	if got, want := d.Service.Host, "greeter.demo.svc.cluster.local"; got != want {
		t.Errorf("host %q, want %q", got, want)
	}
	show := func() string { return endpointsOf(client.Snapshot(), vip) }
	waitFor(t, "the service", "10.1.0.1:8080 10.1.0.2:8080", show)

	for _, none := range []string{"10.96.0.10:81", "10.1.0.1:8080", "192.0.2.1:443", "[2001:db8::1]:443"} {
		begin := time.Now()
		d, err := client.Resolve(t.Context(), netip.MustParseAddrPort(none))
		if err != nil || d.Service != nil {
			t.Errorf("Resolve(%s): %+v, %v; want no service", none, d, err)
		}
		t.Logf("Resolve(%s): %v", none, time.Since(begin))
	}

	c.put(t, nil, greeterSlice(1, -2, 3))
	waitFor(t, "after a scale-up, one draining", "10.1.0.1:8080 10.1.0.3:8080", show)
	c.put(t, nil, greeterSlice(-1, -2))
	waitFor(t, "when all drain", "10.1.0.1:8080 10.1.0.2:8080", show)
	c.put(t, nil, greeterSlice())
	waitFor(t, "without endpoints", "", show)

	if err := c.clients.CoreV1().Services("demo").Delete(t.Context(), "greeter", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "after its deletion", "no service", show)
	// It appears later at an address that was said not to exist.
	c.put(t, greeter("192.0.2.1"), greeterSlice(4))
	late := "192.0.2.1:80"
	waitFor(t, "a new service", "unknown", func() string { return endpointsOf(client.Snapshot(), late) })
	if _, err := client.Resolve(t.Context(), netip.MustParseAddrPort(late)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a new service", "10.1.0.4:8080", func() string { return endpointsOf(client.Snapshot(), late) })

	resp, err := http.Get("http://" + r.http + "/ready")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("ready: %v, %v", resp, err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
}

func TestDiscoveryAway(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("one cluster", testDiscoveryAway)
}

func testDiscoveryAway(t *testing.T) {
	c := newCluster(t)
	c.put(t, greeter("10.96.0.10"), greeterSlice(1, 2))
	r := c.start(t, "127.0.0.1:0")
	client := c.connect(t, r.ads, goodToken)
	vip := netip.MustParseAddrPort("10.96.0.10:80")
	if _, err := client.Resolve(t.Context(), vip); err != nil {
		t.Fatal(err)
	}
	show := func() string { return endpointsOf(client.Snapshot(), vip.String()) }
	waitFor(t, "the service", "10.1.0.1:8080 10.1.0.2:8080", show)
	updates := client.Stats().Updates

	r.stop()
	waitFor(t, "connected", "false", func() string { return fmt.Sprint(client.Stats().Connected) })
	if got := show(); got != "10.1.0.1:8080 10.1.0.2:8080" {
		t.Errorf("with discovery away the service is %q", got)
	}
	begin := time.Now()
	_, err := client.Resolve(t.Context(), netip.MustParseAddrPort("10.1.0.9:80"))
	if took := time.Since(begin); !errors.Is(err, xds.ErrUnavailable) || took > time.Second {
		t.Errorf("Resolve of something new: %v after %v, want ErrUnavailable soon", err, took)
	}

	// The same content again: nothing is sent but what nobody answered yet.
	r = c.start(t, r.ads)
	unanswered := func() string { return endpointsOf(client.Snapshot(), "10.1.0.9:80") }
	waitFor(t, "what was asked for meanwhile", "no service", unanswered)
	if got := client.Stats().Updates - updates; got != 1 {
		t.Errorf("%d responses after the restart, want 1", got)
	}
	r.stop()

	// A service that goes while nobody watches.
	if err := c.clients.CoreV1().Services("demo").Delete(t.Context(), "greeter", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.start(t, r.ads)
	waitFor(t, "the deleted service", "no service", show)
}

func TestProcessStartsWithoutDiscovery(t *testing.T) {
	c := newCluster(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // nobody listens there any more
	client := c.connect(t, ln.Addr().String(), goodToken)
	ap := netip.MustParseAddrPort("10.96.0.10:80")
	for i, limit := range []time.Duration{3 * time.Second, 500 * time.Millisecond} {
		begin := time.Now()
		_, err := client.Resolve(t.Context(), ap)
		if took := time.Since(begin); !errors.Is(err, xds.ErrUnavailable) || took > limit {
			t.Errorf("Resolve %d: %v after %v, want ErrUnavailable within %v", i, err, took, limit)
		}
	}
	if got := client.Stats().Away; got != 2 {
		t.Errorf("Away is %d, want 2", got)
	}
}

func TestTokens(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("one cluster", func(t *testing.T) {
		c := newCluster(t)
		c.put(t, greeter("10.96.0.10"), nil)
		r := c.start(t, "127.0.0.1:0")
		ap := netip.MustParseAddrPort("10.96.0.10:80")

		bad := c.connect(t, r.ads, "a bad token")
		if _, err := bad.Resolve(t.Context(), ap); !errors.Is(err, xds.ErrUnavailable) {
			t.Errorf("with a bad token: %v, want ErrUnavailable", err)
		}
		c.away.Store(true)
		early := c.connect(t, r.ads, goodToken)
		if _, err := early.Resolve(t.Context(), ap); !errors.Is(err, xds.ErrUnavailable) {
			t.Errorf("with the API server away: %v, want ErrUnavailable", err)
		}
		c.away.Store(false)
		waitFor(t, "connected", "true", func() string { return fmt.Sprint(early.Stats().Connected) })
		if _, err := early.Resolve(t.Context(), ap); err != nil {
			t.Error(err)
		}
		// The verdict is remembered: with the API server away again, one
		// more stream with the same token is let in.
		c.away.Store(true)
		second := c.connect(t, r.ads, goodToken)
		if _, err := second.Resolve(t.Context(), ap); err != nil {
			t.Error(err)
		}
	})
}
