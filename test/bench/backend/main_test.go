// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/test/bench/load"
	"github.com/shuntmesh/shunt/test/bench/process"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// TestBackend: what it answers passes the probe, and it counts each once.
func TestBackend(t *testing.T) {
	ports := process.NewPorts()
	for _, p := range []scenario.Protocol{scenario.GRPC, scenario.HTTP1, scenario.TCP} {
		t.Run(string(p), func(t *testing.T) {
			free, err := ports.FreeN(2)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- run(ctx, []string{"-protocol", string(p), "-listen", free[0].String(), "-counts", free[1].String(), "-payload", "3000"})
			}()
			for range 3 {
				if err := eventually(func() error { return load.Probe(t.Context(), load.Aim{Address: free[0]}, p, 3000) }); err != nil {
					t.Fatal(err)
				}
			}
			counts := map[string]int{}
			if err := eventually(func() error { return get("http://"+free[1].String(), &counts) }); err != nil || counts[free[0].String()] != 3 {
				t.Errorf("counts %v, %v, want 3", counts, err)
			}
			cancel()
			if err := <-done; err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
}

// TestGRPCLoad: the client with deadlines gets what it sent.
func TestGRPCLoad(t *testing.T) {
	free, err := process.NewPorts().FreeN(2)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"-listen", free[0].String(), "-counts", free[1].String()}) }()
	aim := load.Aim{Address: free[0]}
	if err := eventually(func() error { return load.Probe(t.Context(), aim, scenario.GRPC, 10) }); err != nil {
		t.Fatal(err)
	}
	o, err := load.GRPC(t.Context(), aim, scenario.Load{Connections: 2, Streams: 3, Requests: 100, Payload: 50})
	if err != nil || o.Requests != 100 || o.Bytes != 5000 || o.P50 <= 0 || o.P99 < o.P50 {
		t.Errorf("GRPC: %+v, %v", o, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
}

func eventually(f func() error) (err error) {
	for begin := time.Now(); time.Since(begin) < 5*time.Second; time.Sleep(10 * time.Millisecond) {
		if err = f(); err == nil {
			return nil
		}
	}
	return err
}

func get(url string, into any) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}
