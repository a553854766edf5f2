// SPDX-License-Identifier: Apache-2.0

package services

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shuntmesh/shunt/internal/xdsapi"
	"github.com/shuntmesh/shunt/redirect/ebpf"
)

// kernel is a Balancer that remembers.
type kernel struct {
	mu     sync.Mutex
	writes []write
	err    error
	done   ebpf.Balanced
}

type write struct {
	at    time.Time
	table string
}

func (k *kernel) Balance(_ context.Context, want []ebpf.Service) (ebpf.Balanced, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writes = append(k.writes, write{time.Now(), text(want)})
	return k.done, k.err
}

func (k *kernel) set(done ebpf.Balanced, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.done, k.err = done, err
}

// tables returns what was written since it was last called.
func (k *kernel) tables() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []string
	for _, w := range k.writes {
		out = append(out, w.table)
	}
	k.writes = nil
	return out
}

func newFeed(t testing.TB, address string, k *kernel) *Feed {
	t.Helper()
	f, err := New(Options{
		Address: address, Balancer: k, Metrics: NewMetrics(), Node: "node-1", Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// figure reads one of the metrics, summed over its labels.
func figure(t testing.TB, m *Metrics, name string) (sum float64) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m.Collectors()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, each := range f.GetMetric() {
				sum += each.GetCounter().GetValue() + each.GetGauge().GetValue()
			}
			return sum
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestAddressIsJudged(t *testing.T) {
	for _, address := range []string{"", "discovery", ":15012", "a:b:c"} {
		if _, err := New(Options{Address: address}); err == nil {
			t.Errorf("%q is taken", address)
		}
	}
}

// writing runs the writer, and gives a function that says something as discovery.
func writing(t *testing.T, k *kernel, test func(f *Feed, say func(*xdsapi.DeltaDiscoveryResponse))) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed(t, "discovery:15012", k)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { f.write(ctx) })
		test(f, func(r *xdsapi.DeltaDiscoveryResponse) { f.take(r) })
		cancel()
		running.Wait()
	})
}

const one = "10.96.0.1:80 -> 10.1.0.1:80*1"

func TestWritesAreCoalesced(t *testing.T) {
	k := &kernel{done: ebpf.Balanced{Changed: 1}}
	writing(t, k, func(f *Feed, say func(*xdsapi.DeltaDiscoveryResponse)) {
		for i := range 100 {
			say(response(nil, resource(t, "a", "1", port(80, []string{"10.96.0.1"}, "10.1.0.1:80"))))
			if i == 0 {
				synctest.Wait() // the first is written at once
			}
			time.Sleep(3 * time.Millisecond)
		}
		time.Sleep(time.Second)
		k.mu.Lock()
		defer k.mu.Unlock()
		if n := len(k.writes); n < 6 || n > 8 {
			t.Errorf("300 ms of changes made %d writes, want one in %v", n, writeGap)
		}
		for i := range k.writes[1:] {
			if gap := k.writes[i+1].at.Sub(k.writes[i].at); gap < writeGap {
				t.Errorf("%v between two writes, want at least %v", gap, writeGap)
			}
		}
		if last := k.writes[len(k.writes)-1].table; last != one {
			t.Errorf("the last write is %q", last)
		}
	})
}

// Nothing is written of a table that is not whole: what is missing would end its
// connections.
func TestPartsAreNotWritten(t *testing.T) {
	k := &kernel{}
	writing(t, k, func(f *Feed, say func(*xdsapi.DeltaDiscoveryResponse)) {
		time.Sleep(time.Minute)
		if got := k.tables(); len(got) > 0 {
			t.Errorf("wrote %q before discovery said anything", got)
		}
		part := response(nil, resource(t, "a", "1", port(80, []string{"10.96.0.1"}, "10.1.0.1:80")))
		part.SystemVersionInfo = "partial"
		say(part)
		time.Sleep(time.Minute)
		if got := k.tables(); len(got) > 0 {
			t.Errorf("wrote a part: %q", got)
		}
		say(response(nil))
		time.Sleep(time.Second)
		if got := k.tables(); len(got) != 1 || got[0] != one {
			t.Errorf("wrote %q, want the whole", got)
		}
	})
}

func TestFailedWritesAreRepeated(t *testing.T) {
	k := &kernel{}
	k.set(ebpf.Balanced{}, errors.New("no room"))
	writing(t, k, func(f *Feed, say func(*xdsapi.DeltaDiscoveryResponse)) {
		say(response(nil, resource(t, "a", "1", port(80, []string{"10.96.0.1"}, "10.1.0.1:80"))))
		time.Sleep(10 * time.Minute)
		if n := len(k.tables()); n < 15 || n > 60 {
			t.Errorf("%d attempts in 10 minutes, want some each %v", n, maxRetry)
		}
		k.set(ebpf.Balanced{Changed: 1, Destroyed: 3, Stayed: 2}, nil)
		time.Sleep(2 * maxRetry)
		if got := k.tables(); len(got) != 1 || got[0] != one {
			t.Errorf("wrote %q, want it once", got)
		}
		for name, want := range map[string]float64{
			"shunt_node_balance_services": 1, "shunt_node_balance_endpoints": 1, "shunt_node_balance_refused": 0,
			"shunt_node_balance_destroyed_connections_total": 3, "shunt_node_balance_stayed_connections_total": 2,
		} {
			if got := figure(t, f.options.Metrics, name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		if figure(t, f.options.Metrics, "shunt_node_balance_last_change_timestamp_seconds") == 0 {
			t.Error("no time of a change")
		}
	})
}
