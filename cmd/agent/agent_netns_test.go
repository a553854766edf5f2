// SPDX-License-Identifier: Apache-2.0

//go:build netns

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/cni/agent/podtest"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/figure"
)

const (
	pods   = 250
	churn  = 500
	maxRSS = 30 * mib
)

func uid(n int) string { return fmt.Sprintf("30000000-0000-4000-8000-%012d", n) }

// TestFullNode starts an agent on a node of 250 pods without rules, lets 500 more
// come and go, and measures what is left.
func TestFullNode(t *testing.T) {
	api := newFakeAPI(t)
	for i := range pods {
		api.set(t, uid(i), true)
		podtest.Start(t, uid(i), podtest.Kind{Systemd: i%2 == 0, UID: uint32(i % 3 * 1000)})
	}
	p := prepare(t)
	p.start(api.kubeconfig(t))
	p.within(20*time.Second, "ready", p.ready)
	p.within(90*time.Second, "all repaired", func() bool { return p.metric(`shunt_node_repairs_total{result="repaired"}`) == pods })
	if failed := p.metric(`shunt_node_repairs_total{result="failed"}`); failed != 0 {
		t.Errorf("%v repairs failed", failed)
	}
	time.Sleep(8 * time.Second) // each is read back once more
	rss := p.memory("VmRSS")
	figure.Publish(t, "cni.agent_rss_mib", fmt.Sprintf("%.1f", float64(rss)/mib), "MiB")
	figure.Publish(t, "cni.agent_worst_rss_mib", fmt.Sprintf("%.1f", float64(p.memory("VmHWM"))/mib), "MiB")
	if rss > maxRSS {
		t.Errorf("%d bytes are resident, at most %d are wanted", rss, maxRSS)
	}
	if want := "spec.nodeName=here,status.phase!=Failed,status.phase!=Succeeded"; !sameTerms(api.selector, want) {
		t.Errorf("pods are listed by %q, want %q", api.selector, want)
	}
	if n := api.annotation(t); n.Backend != "nftables" || n.Plugin != contract.NodeInstalled || n.Annotations != contract.NodeHandedOver {
		t.Errorf("the Node says %+v", n)
	}
	before, _ := p.held()
	goroutines := p.metric("go_goroutines")
	comeAndGo(t, api, p)
	p.within(15*time.Second, "goroutines as before", func() bool { return p.metric("go_goroutines") <= goroutines+2 })
	after, namespaces := p.held()
	if len(after) > len(before)+2 || strings.Contains(strings.Join(after, " "), "net:[") {
		t.Errorf("descriptors %v, before %v", after, before)
	}
	if len(namespaces) != 1 {
		t.Errorf("its threads are in namespaces %v, want one", namespaces)
	}
	p.within(5*time.Second, "as many pods as before", func() bool {
		return p.metric(`shunt_node_pods{namespace="found"}`)+p.metric(`shunt_node_pods{namespace="searching"}`) == pods
	})
	p.stop()
}

// comeAndGo has pods that are deleted before they have a sandbox, while they are
// being repaired, and after.
func comeAndGo(t *testing.T, api *fakeAPI, p *process) {
	t.Helper()
	repaired := p.metric(`shunt_node_repairs_total{result="repaired"}`)
	const batch = 20
	for i := range churn / batch {
		var sandboxes []*podtest.Pod
		for j := range batch {
			id := uid(1000 + batch*i + j)
			api.set(t, id, true)
			if j < 4 {
				sandboxes = append(sandboxes, podtest.Start(t, id, podtest.Kind{}))
			}
		}
		time.Sleep(time.Duration(i%6) * 150 * time.Millisecond)
		for j := range batch {
			api.set(t, uid(1000+batch*i+j), false)
		}
		for _, s := range sandboxes {
			s.Stop()
		}
	}
	if p.metric(`shunt_node_repairs_total{result="repaired"}`) == repaired {
		t.Error("no pod that came was repaired: the test tests nothing")
	}
}

// sameTerms compares selectors, whose order means nothing.
func sameTerms(a, b string) bool {
	terms := strings.Split(b, ",")
	for _, term := range terms {
		if !strings.Contains(a, term) {
			return false
		}
	}
	return strings.Count(a, ",") == len(terms)-1
}

// TestBootWithoutAPIServer is a node that starts while the API server is away:
// the plugin is installed, and pods are captured when there is word of them.
func TestBootWithoutAPIServer(t *testing.T) {
	pod := podtest.Start(t, uid(0), podtest.Kind{UID: 1000})
	away := freeAddr(t)
	p := prepare(t)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	p.write(path, fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c",
"clusters":[{"name":"c","cluster":{"server":"http://%s"}}],"users":[{"name":"c"}],"contexts":[{"name":"c","context":{"cluster":"c","user":"c"}}]}`, away))
	p.start(path)
	p.within(15*time.Second, "the plugin in place", func() bool { return strings.Contains(p.conflist(), contract.PluginBinary) })
	if _, err := os.Stat(filepath.Join(p.binDir, contract.PluginBinary)); err != nil {
		t.Error(err)
	}
	// It says that the plugin is in place a moment after it is.
	p.within(5*time.Second, "nothing missing but the list of pods", func() bool {
		status, why := p.get("/ready")
		return status == http.StatusServiceUnavailable && strings.Contains(why, "pods of the node are not listed")
	})
	if status, body := ask(t, p.sock, uid(0)); status != http.StatusServiceUnavailable {
		t.Errorf("the plugin is told %d %s about a pod that can't be known", status, body)
	}
	api := newFakeAPI(t)
	api.set(t, uid(0), true)
	forward(t, away, api.Listener.Addr().String())
	p.within(10*time.Second, "ready", p.ready)
	p.within(2*time.Second, "an Event", func() bool { return api.reported("CaptureRepaired") == 1 })
	if status, body := ask(t, p.sock, uid(0)); status != http.StatusOK || !strings.Contains(body, "interception") {
		t.Errorf("the plugin is told %d %s", status, body)
	}
	p.within(6*time.Second, "the fallback in the Node", func() bool { return strings.HasPrefix(api.annotation(t).Annotations, "fallback") })
	api.CloseClientConnections()
	api.Listener.Close()
	time.Sleep(time.Second)
	if !p.ready() {
		t.Error("not ready since the API server has gone")
	}
	pod.Stop()
	p.stop() // nobody can be asked: all stays
	if !strings.Contains(p.conflist(), contract.PluginBinary) {
		t.Error("the plugin was taken away although nobody said so")
	}
}

// TestUpdateAndUninstall leaves all in place while the DaemonSet is there, and
// nothing once it has gone.
func TestUpdateAndUninstall(t *testing.T) {
	api := newFakeAPI(t)
	p := prepare(t)
	for _, gone := range []bool{false, true} {
		p.start(api.kubeconfig(t))
		p.within(15*time.Second, "ready", p.ready)
		p.within(5*time.Second, "a report", func() bool { return api.annotation(t).Plugin == contract.NodeInstalled })
		api.mu.Lock()
		api.gone = gone
		api.mu.Unlock()
		p.stop()
		_, err := os.Stat(filepath.Join(p.binDir, contract.PluginBinary))
		if got := strings.Contains(p.conflist(), contract.PluginBinary); got == gone || os.IsNotExist(err) != gone {
			t.Errorf("DaemonSet gone %v: chained %v, binary %v", gone, got, err)
		}
		if said := api.annotation(t).Plugin; (said == "") != gone {
			t.Errorf("DaemonSet gone %v: the Node says %q", gone, said)
		}
		if _, err := os.Stat(p.sock); !os.IsNotExist(err) {
			t.Errorf("the socket is left: %v", err)
		}
	}
}

// TestFixedBackend that works, and one that can't.
func TestFixedBackend(t *testing.T) {
	api := newFakeAPI(t)
	p := prepare(t)
	p.start(api.kubeconfig(t), "--backend", "iptables-legacy")
	p.within(15*time.Second, "ready", p.ready)
	if !strings.Contains(p.conflist(), `"iptables-legacy"`) {
		t.Errorf("conflist %s", p.conflist())
	}
	p.stop()
	t.Setenv("PATH", "/nonexistent")
	p.start(api.kubeconfig(t), "--backend", "iptables")
	p.within(15*time.Second, "the reason in the Node", func() bool { return strings.Contains(api.annotation(t).Reason, "does not work here") })
	if p.ready() {
		t.Error("ready without a backend")
	}
	p.stop()
}

// ask asks as the plugin does.
func ask(t *testing.T, socket, uid string) (int, string) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	resp, err := client.Get("http://agent/v1/pod?" + url.Values{"uid": {uid}, "namespace": {"shop"}, "name": {"web-" + uid}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// forward lets an address lead to another, from now on.
func forward(t *testing.T, from, to string) {
	t.Helper()
	ln, err := net.Listen("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			up, err := net.Dial("tcp", to)
			if err != nil {
				_ = c.Close()
				continue
			}
			go func() { _, _ = io.Copy(up, c); _ = up.Close() }() // end with the connection
			go func() { _, _ = io.Copy(c, up); _ = c.Close() }()
		}
	}()
}
