// SPDX-License-Identifier: Apache-2.0

//go:build netns

package proxy_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/shuntmesh/shunt/proxy"
	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/route"
	"github.com/shuntmesh/shunt/proxy/sidecartest"
	"github.com/shuntmesh/shunt/proxy/xds"
)

// rules are the redirection in small: the package redirect has the real ones.
const rules = `
table inet shunt_proxy_test {
	chain output {
		type nat hook output priority -100
		ip saddr 127.0.0.6 return
		ip6 saddr ::6 return
		oifname "lo" ip daddr != 127.0.0.0/8 meta skuid 1337 tcp dport 1-65535 redirect to :15006
		oifname "lo" ip6 daddr != ::1 meta skuid 1337 tcp dport 1-65535 redirect to :15006
		meta skuid 1337 return
		oifname "lo" return
		tcp dport 1-65535 redirect to :15001
	}
}`

const network = `
ip link set lo up
ip link add pod0 type veth peer name peer0
ip link set peer0 up
ip link set pod0 up
ip address add 10.77.0.2/24 dev pod0
ip -6 address add fd77::2/64 dev pod0 nodad
ip -6 address add ::6/128 dev lo nodad
ip route add default dev pod0
ip -6 route add default dev pod0
`

// roleKey is how the test tells the processes that it makes of itself what
// they are: one that lives in a namespace of its own, and in it the proxy.
const roleKey = "SHUNT_PROXY_TEST_ROLE"

// TestRedirected calls the pod by its own services through real redirection:
// out by 15001, in by 15006, to the application from 127.0.0.6 and ::6.
func TestRedirected(t *testing.T) {
	switch os.Getenv(roleKey) {
	case "":
		inNamespace(t)
	case "pod":
		testInPod(t)
	case "proxy":
		runProxy(t)
	}
}

func inNamespace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("run as root: the test makes a network namespace")
	}
	cmd := role(t, "pod")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

func role(t *testing.T, name string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestRedirected$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), roleKey+"="+name)
	return cmd
}

// services of the pod: by VIP, to itself.
var services = map[string][]string{
	"10.96.0.1:80": {"10.77.0.2:8080"},
	"10.96.0.2:80": {"10.77.0.2:8080", "10.77.0.2:8081"}, // the second is bound to loopback alone
	"10.96.0.3:80": {"10.77.0.2:8081"},
	"[fd96::1]:80": {"[fd77::2]:8080"},
}

func runProxy(t *testing.T) {
	destinations := map[netip.AddrPort]xds.Destination{}
	var clusters []*xds.Cluster
	for address, endpoints := range services {
		var set []*balance.Endpoint
		for _, e := range endpoints {
			set = append(set, balance.NewEndpoint(netip.MustParseAddrPort(e)))
		}
		clusters = append(clusters, &xds.Cluster{Name: address, Picker: balance.NewP2C(set, nil)})
		destinations[netip.MustParseAddrPort(address)] = xds.Destination{
			Service: &xds.Service{Host: "self.demo.svc.cluster.local", Port: 80, Routes: route.ToCluster(address)},
		}
	}
	o := proxy.DefaultOptions()
	o.Resolver = sidecartest.Discovery{Known: xds.NewSnapshot(destinations, clusters...)}
	o.PodIPs = []netip.Addr{netip.MustParseAddr("10.77.0.2"), netip.MustParseAddr("fd77::2")}
	o.AdminSocket = ""
	o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := proxy.Run(ctx, o); err != nil {
		t.Fatal(err)
	}
}

func testInPod(t *testing.T) {
	run(t, network, "sh", "-e")
	run(t, rules, "nft", "-f", "-")
	cmd := role(t, "proxy")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1337, Gid: 1337}, Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("proxy: %v", err)
		}
	}()
	var calls, hidden atomic.Int64
	for address, count := range map[string]*atomic.Int64{"10.77.0.2:8080": &calls, "[fd77::2]:8080": &calls, "127.0.0.1:8081": &hidden} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		newServer(t, l, count)
	}
	waitForProxy(t)
	for address, want := range map[string]string{
		"10.96.0.1:80": "127.0.0.6", "10.96.0.2:80": "127.0.0.6", "10.96.0.3:80": "connect-refused", "[fd96::1]:80": "::6",
	} {
		for range 10 {
			if got := callFrom(t, address); got != want {
				t.Errorf("%s: %s, want %s", address, got, want)
			}
		}
	}
	if hidden.Load() != 0 {
		t.Error("a port bound to loopback was reached")
	}
	res, err := http.Get("http://127.0.0.1:15090/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	for _, want := range []string{`shunt_proxy_retries_total{direction="outbound",reason="connect-refused"}`, `shunt_proxy_requests_total{direction="inbound",service=":8080",protocol="http2",class="2xx"} 30`} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %s in metrics:\n%s", want, body)
		}
	}
}

// callFrom makes a call and returns the address that the application saw it
// come from, or the reason of the proxy.
func callFrom(t *testing.T, address string) string {
	t.Helper()
	client := grpcClient(t, func(ctx context.Context, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var header, trailer metadata.MD
	if _, err := client.EmptyCall(ctx, &testgrpc.Empty{}, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
		if why := trailer["shunt-error"]; len(why) == 1 {
			return why[0]
		}
		return fmt.Sprint(err, trailer)
	}
	return strings.Join(header["seen-from"], ",")
}

func waitForProxy(t *testing.T) {
	t.Helper()
	for range 300 {
		if c, err := net.Dial("tcp", "127.0.0.1:15021"); err == nil {
			c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("proxy does not listen")
}

func run(t *testing.T, stdin, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}
