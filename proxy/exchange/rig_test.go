// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/message"
	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/route"
	"github.com/shuntmesh/shunt/proxy/stats"
	"github.com/shuntmesh/shunt/proxy/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tester is what *testing.T and *rapid.T share.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// rig is a shard on a running worker, between fake streams. What a test does
// with the shard, it does within do.
type rig struct {
	tester
	options   Options
	close     func()
	worker    *loop.Worker
	shard     *shard
	client    *clientConn
	endpoints []*balance.Endpoint
	servers   []*fakeServer // by endpoint
	dials     map[netip.AddrPort]chan dialed
	turn      int // how often do was called

	unresolved bool
	ready      []func()
}

type dialed struct {
	conn *net.TCPConn
	err  error
}

func newRig(t testing.TB, k kind, endpoints int, change func(*Options)) *rig {
	t.Helper()
	r := startRig(t, k, endpoints, change)
	t.Cleanup(r.close)
	return r
}

// startRig returns a rig that must be closed.
func startRig(t tester, k kind, endpoints int, change func(*Options)) *rig {
	t.Helper()
	r := &rig{tester: t, dials: map[netip.AddrPort]chan dialed{}}
	r.options = Options{
		Direction: stats.Outbound, Stats: stats.New(), Dial: r.dial,
		Limits: DefaultLimits(),
	}
	r.options.Limits.HeaderTimeout = time.Hour
	if change != nil {
		change(&r.options)
	}
	r.run()
	r.addEndpoints(endpoints)
	r.newClient(k)
	for i := range endpoints {
		r.servers = append(r.servers, r.newServer(i, k))
	}
	return r
}

func (r *rig) run() {
	var err error
	if r.worker, err = loop.New(loop.Options{}); err != nil {
		r.Fatalf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.worker.Run(ctx) }()
	r.shard = newShard(&r.options, r.worker)
	r.close = func() {
		r.shard.endDialing()
		r.shard.dialing.Wait()
		cancel()
		<-ended
	}
}

func (r *rig) addEndpoints(n int) {
	for i := range n {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 80)
		r.endpoints = append(r.endpoints, balance.NewEndpoint(addr))
		r.dials[addr] = make(chan dialed)
	}
}

func (r *rig) newClient(k kind) {
	protocol := stats.HTTP1
	if k == kindHTTP2 {
		protocol = stats.HTTP2
	}
	r.client = &clientConn{
		shard: r.shard, kind: k, dispatcher: r, destination: netip.MustParseAddrPort("10.96.0.1:80"),
		requests: r.options.Stats.Requests(r.options.Direction, "svc", protocol),
	}
}

// do runs f on the worker, as one call of the loop.
func (r *rig) do(f func()) {
	r.Helper()
	done := make(chan struct{})
	if !r.worker.Post(func() { defer close(done); r.turn++; f() }) {
		r.Fatalf("worker has stopped")
	}
	<-done
}

// Pick, Wait and Service make the rig a Dispatcher: the first endpoint that was
// not tried.
func (r *rig) Pick(_ route.Request, tried []*balance.Endpoint, _ time.Time) (*balance.Endpoint, reason.Reason) {
	if r.unresolved {
		return nil, reason.Unresolved
	}
	for _, e := range r.endpoints {
		if !slices.Contains(tried, e) {
			return e, reason.None
		}
	}
	return nil, reason.NoEndpoints
}

func (r *rig) Wait(ready func()) { r.ready = append(r.ready, ready) }

func (r *rig) Service() string { return "svc" }

// dial waits for what the test says becomes of it.
func (r *rig) dial(ctx context.Context, addr netip.AddrPort) (*net.TCPConn, error) {
	select {
	case d := <-r.dials[addr]:
		return d.conn, d.err
	case <-ctx.Done():
		return nil, &upstream.Error{Reason: reason.ConnectRefused, Err: ctx.Err()}
	}
}

// endDial ends the dial of endpoint i, and waits until the worker knows.
func (r *rig) endDial(i int, c *net.TCPConn, why reason.Reason) {
	r.Helper()
	d := dialed{conn: c}
	if why != reason.None {
		d.err = &upstream.Error{Reason: why, Err: errors.New("no")}
	}
	addr := r.endpoints[i].Addr()
	dialing := func() (n int) {
		r.do(func() {
			for _, g := range r.shard.pool.groups {
				if g.key.addr == addr {
					n += g.dialing
				}
			}
		})
		return n
	}
	before := dialing()
	select {
	case r.dials[addr] <- d:
	case <-time.After(5 * time.Second):
		r.Fatalf("endpoint %d is not dialled", i)
	}
	r.eventually("the dial to end", func() bool { return dialing() != before })
}

func (r *rig) eventually(what string, ok func() bool) {
	r.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); {
		if time.Now().After(end) {
			r.Fatalf("waited for %s in vain", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// metrics returns the counters whose names begin so, but for zeros, with what
// tells them apart: all label values but direction, service and protocol.
func (r *rig) metrics(name string) map[string]int {
	var b bytes.Buffer
	r.options.Stats.WritePrometheus(&b)
	out := map[string]int{}
	for s := bufio.NewScanner(&b); s.Scan(); {
		key, value, _ := strings.Cut(s.Text(), " ")
		rest, ok := strings.CutPrefix(key, "shunt_proxy_"+name+"{")
		if !ok {
			continue
		}
		label := ""
		for pair := range strings.SplitSeq(strings.TrimSuffix(rest, "}"), ",") {
			k, v, _ := strings.Cut(pair, "=")
			if k != "direction" && k != "service" && k != "protocol" {
				label = strings.Trim(v, `"`)
			}
		}
		if n, err := strconv.Atoi(value); err == nil && n != 0 {
			out[label] += n
		}
	}
	return out
}

func (r *rig) wantMetric(name string, want map[string]int) {
	r.Helper()
	got := r.metrics(name)
	if len(got) != len(want) {
		r.Errorf("%s: %v, want %v", name, got, want)
		return
	}
	for k, v := range want {
		if got[k] != v {
			r.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// wantIdle checks that nothing is left of any request.
func (r *rig) wantIdle() {
	r.Helper()
	for i, e := range r.endpoints {
		if n := e.Active(); n != 0 {
			r.Errorf("endpoint %d has %d requests", i, n)
		}
	}
	r.do(func() {
		if r.client.active != 0 {
			r.Errorf("client has %d exchanges", r.client.active)
		}
		for _, g := range r.shard.pool.groups {
			if len(g.waiting) != 0 {
				r.Errorf("%d requests wait for %s", len(g.waiting), g.key.addr)
			}
		}
	})
}

func request(fields ...*message.Field) *message.Head {
	return &message.Head{
		Kind: message.Request, Method: "POST", Scheme: "http", Authority: "svc", Path: "/p",
		ContentLength: -1, Fields: fields,
	}
}

func grpcRequest(fields ...*message.Field) *message.Head {
	h := request(append(fields, &message.Field{Name: "content-type", Value: "application/grpc"})...)
	h.GRPC = true
	return h
}

func response(status int, fields ...*message.Field) *message.Head {
	return &message.Head{Kind: message.Response, Status: status, ContentLength: -1, Fields: fields}
}

func trailers(fields ...*message.Field) *message.Head {
	return &message.Head{Kind: message.Trailers, ContentLength: -1, Fields: fields}
}

func field(name, value string) *message.Field { return &message.Field{Name: name, Value: value} }
