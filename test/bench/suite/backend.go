// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/shuntmesh/shunt/test/bench/measure"
	"github.com/shuntmesh/shunt/test/bench/process"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// backend answers what targets pass on.
type backend struct {
	addresses []netip.AddrPort
	process   *process.Process
	counts    string // URL; "" for iperf3, which counts for itself
}

func (r *run) backend(ctx context.Context, s scenario.Scenario) (*backend, error) {
	addresses, err := r.setup.Ports.FreeN(s.Endpoints + 1)
	if err != nil {
		return nil, err
	}
	b := &backend{addresses: addresses[:s.Endpoints]}
	counts := addresses[s.Endpoints]
	name, args := "backend", []string{
		"-protocol", string(s.Protocol), "-listen", joined(b.addresses), "-counts", counts.String(), "-payload", strconv.Itoa(s.Load.Payload),
	}
	ready := counts
	b.counts = fmt.Sprintf("http://%v/", counts)
	if s.Kind == scenario.Bulk {
		ready, b.counts = b.addresses[0], ""
		name, args = "iperf3", []string{"-s", "-p", strconv.Itoa(int(ready.Port())), "-B", ready.Addr().String()}
	}
	tool, ok := r.setup.Tools[name]
	if !ok {
		return nil, fmt.Errorf("program %s is not installed", name)
	}
	if b.process, err = process.Start(process.Spec{
		Name: name, Path: tool.Path, Args: args, Env: tool.Env,
		Log: filepath.Join(r.setup.Dir, fmt.Sprintf("backend-%d.log", ready.Port())),
	}); err != nil {
		return nil, err
	}
	if err := b.process.Listens(ctx, ready); err != nil {
		_ = b.process.Stop()
		return nil, err
	}
	return b, nil
}

func (b *backend) stop() error { return b.process.Stop() }

func (b *backend) cpu() (time.Duration, error) { return measure.CPU(b.process.PID()) }

// answered is how many requests each address has answered (for TCP, how many
// connections it has accepted).
func (b *backend) answered(ctx context.Context) (map[string]int, error) {
	if b.counts == "" {
		return map[string]int{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.counts, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the backend: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	out := map[string]int{}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return nil, fmt.Errorf("ask the backend: %w", err)
	}
	return out, nil
}

func joined(all []netip.AddrPort) string {
	texts := make([]string, len(all))
	for i, ap := range all {
		texts[i] = ap.String()
	}
	return strings.Join(texts, ",")
}
