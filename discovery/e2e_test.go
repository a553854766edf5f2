// SPDX-License-Identifier: Apache-2.0

package discovery_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/shuntmesh/shunt/discovery"
	"github.com/shuntmesh/shunt/discovery/kube"
	"github.com/shuntmesh/shunt/proxy/xds"
)

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

	if code, _ := get(t, "http://"+r.http+"/ready"); code != http.StatusOK {
		t.Errorf("ready: %d", code)
	}
	_, body := get(t, "http://"+r.http+"/metrics")
	for _, want := range []string{
		"shunt_discovery_streams 1",
		"shunt_discovery_streams_opened_total 1",
		`shunt_discovery_resources{type="Cluster"} 1`,
		`shunt_discovery_pushes_total{type="ClusterLoadAssignment"}`,
		`shunt_discovery_pushed_bytes_total{type="Address"}`,
		"shunt_discovery_event_to_push_seconds_count",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// Before the cluster was read nobody may connect: any answer would be wrong.
func TestNotReadyBeforeSync(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := newCluster(t)
	ads, ready := freePort(t), freePort(t)
	source := &static{synced: make(chan struct{})}
	started := make(chan *replica, 1)
	t.Run("replica", func(t *testing.T) {
		go func() {
			started <- c.startAt(t, ads, ready, func(sink kube.Sink) discovery.Source {
				source.Sink = sink
				return source
			})
		}()
		waitFor(t, "the answer of /ready", "503", func() string {
			code, _ := get(t, "http://"+ready+"/ready")
			return strconv.Itoa(code)
		})
		if conn, err := net.Dial("tcp", ads); err == nil {
			conn.Close()
			t.Error("proxies can connect")
		}
		close(source.synced)
		<-started
		if code, _ := get(t, "http://"+ready+"/ready"); code != http.StatusOK {
			t.Errorf("ready: %d, want 200", code)
		}
	})
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
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
	client := c.connect(t, freePort(t), goodToken) // nobody listens there
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
