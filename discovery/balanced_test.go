// SPDX-License-Identifier: Apache-2.0

package discovery_test

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/shuntmesh/shunt/cni/agent/services"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect/ebpf"
)

// kernel is a node's table.
type kernel struct {
	mu     sync.Mutex
	want   []ebpf.Service
	writes int
}

func (k *kernel) Balance(_ context.Context, want []ebpf.Service) (ebpf.Balanced, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.want = want
	k.writes++
	return ebpf.Balanced{}, nil
}

// table shows what the node balances; "unwritten" before anybody has said.
func (k *kernel) table() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.writes == 0 {
		return "unwritten"
	}
	var out []string
	for _, s := range k.want {
		line := s.Addr.String() + " ->"
		for _, e := range slices.SortedFunc(slices.Values(s.Endpoints), func(a, b ebpf.Endpoint) int { return a.Addr.Compare(b.Addr) }) {
			line += fmt.Sprintf(" %s*%d", e.Addr, e.Weight)
		}
		out = append(out, line)
	}
	return cmp.Or(strings.Join(out, "; "), "empty")
}

// endpoints counts what the node balances over.
func (k *kernel) endpoints() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.want {
		n += len(s.Endpoints)
	}
	return n
}

// feed runs what a node runs.
func (c *cluster) feed(t testing.TB, address, token string) *kernel {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	k := &kernel{}
	f, err := services.New(services.Options{
		Address: net.JoinHostPort(localhost, port), TokenFile: file, Node: "node-1", Balancer: k, Metrics: services.NewMetrics(), Log: logTo(t),
		Roots: func(context.Context) ([]byte, error) { return c.authority.CertPEM(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("feed: %v", err)
		}
	})
	return k
}

var plainVIP = netip.MustParseAddrPort("10.96.0.10:80")

// plain is greeter as plain TCP: an appProtocol beats the port's name.
func plain(vip, balance string) *corev1.Service {
	s := greeter(vip)
	s.Spec.Ports = []corev1.ServicePort{{Name: "grpc", Port: 80, TargetPort: intstr.FromInt32(8080)}}
	s.Spec.Ports[0].AppProtocol = new("tcp")
	s.Annotations = map[string]string{contract.AnnotationBalance: balance}
	return s
}

// What a Service asks for reaches the nodes: its endpoints as they come, drain
// and go, over a restart of discovery as well.
func TestBalancedAtConnect(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("one cluster", func(t *testing.T) {
		c := newCluster(t)
		r := c.start(t, "127.0.0.1:0")
		k := c.feed(t, r.ads, goodToken)
		waitFor(t, "a table of nothing", "empty", k.table)

		c.put(t, plain("10.96.0.10", "connect"), greeterSlice(1, 2))
		waitFor(t, "a service", "10.96.0.10:80 -> 10.1.0.1:8080*1 10.1.0.2:8080*1", k.table)
		c.put(t, nil, greeterSlice(1, -2, 3))
		waitFor(t, "one drains", "10.96.0.10:80 -> 10.1.0.1:8080*1 10.1.0.2:8080*0 10.1.0.3:8080*1", k.table)
		c.put(t, nil, greeterSlice(3))
		waitFor(t, "two are gone", "10.96.0.10:80 -> 10.1.0.3:8080*1", k.table)
		unready := greeterSlice(3, 4)
		unready.Endpoints[0].Conditions.Ready = new(false)
		c.put(t, nil, unready)
		waitFor(t, "one is not ready", "10.96.0.10:80 -> 10.1.0.3:8080*0 10.1.0.4:8080*1", k.table)

		r.stop()
		c.put(t, nil, greeterSlice(4, 5))
		r = c.start(t, r.ads)
		waitFor(t, "after a restart", "10.96.0.10:80 -> 10.1.0.4:8080*1 10.1.0.5:8080*1", k.table)

		annotate := func(value string) {
			t.Helper()
			patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, contract.AnnotationBalance, value)
			if _, err := c.clients.CoreV1().Services("demo").Patch(t.Context(), "greeter", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		annotate("proxy")
		waitFor(t, "the proxy's again", "empty", k.table)
		annotate("connect")
		waitFor(t, "and back", "10.96.0.10:80 -> 10.1.0.4:8080*1 10.1.0.5:8080*1", k.table)
		annotate("conect")
		waitFor(t, "a typing error", "empty", k.table)
		client := c.connect(t, r.ads, goodToken)
		waitFor(t, "the proxy's part all the while", "10.1.0.4:8080 10.1.0.5:8080", func() string {
			_, _ = client.Resolve(t.Context(), plainVIP)
			return endpointsOf(client.Snapshot(), plainVIP.String())
		})
		if _, metrics := get(t, "http://"+r.http+"/metrics"); !strings.Contains(metrics, `shunt_discovery_resources{type="BalancedPort"} 0`) {
			t.Error("no metric of what is balanced at connect")
		}
	})
}
