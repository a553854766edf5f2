// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/shuntmesh/shunt/test/bench/load"
	"github.com/shuntmesh/shunt/test/bench/measure"
	"github.com/shuntmesh/shunt/test/bench/peers"
	"github.com/shuntmesh/shunt/test/bench/process"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// rest is the time after which memory is read.
func (r *run) rest() time.Duration {
	if r.Quick {
		return 300 * time.Millisecond
	}
	return 2 * time.Second
}

// warmConns are open before the growth is measured: code was touched, pools
// exist. With fewer, what Go's allocator sets up once for each class of sizes,
// some 600 KiB, counts as growth.
const warmConns = 500

// idleConns is the growth of RSS per connection that is open and idle, in a
// process of its own.
func (r *run) idleConns(ctx context.Context, s scenario.Scenario, target string) (out sample, err error) {
	b, err := r.backend(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	t, err := r.setup.Start(ctx, target, peers.Ask{Protocol: s.Protocol, TLS: s.TLS, Backends: b.addresses})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.Stop()) }()
	closeWarm, err := load.Hold(ctx, t.Aim, s.Protocol, s.Load.Payload, warmConns)
	if err != nil {
		return nil, err
	}
	defer closeWarm()
	before, err := r.memoryOf(t)
	if err != nil {
		return nil, err
	}
	closeAll, err := load.Hold(ctx, t.Aim, s.Protocol, s.Load.Payload, s.Load.Connections)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	after, err := r.memoryOf(t)
	if err != nil {
		return nil, err
	}
	if t.Metrics != "" {
		if err := r.checkOpen(ctx, t, warmConns+s.Load.Connections); err != nil {
			return nil, err
		}
	}
	return sample{
		scenario.PerConn: float64(after.RSS-before.RSS) / 1024 / float64(s.Load.Connections),
		scenario.RSS:     float64(before.RSS) / measure.MiB,
	}, nil
}

func (r *run) memoryOf(t *peers.Target) (measure.Memory, error) {
	time.Sleep(r.rest())
	return t.Memory()
}

func (r *run) checkOpen(ctx context.Context, t *peers.Target, want int) error {
	c, err := measure.ReadCounters(ctx, t.Metrics)
	if err != nil {
		return err
	}
	if got, _ := c.Sum("shunt_proxy_connections_active"); got != float64(want) {
		return fmt.Errorf("the proxy has %v connections open, want %d", got, want)
	}
	return nil
}

// idle is the memory of the product's own program, connected to discovery.
func (r *run) idle(ctx context.Context) (out sample, err error) {
	c, err := r.control(ctx, "-services", "1")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.process.Stop()) }()
	authority, err := os.ReadFile(c.caFile)
	if err != nil {
		return nil, err
	}
	token := filepath.Join(r.setup.Dir, "token")
	if err := os.WriteFile(token, []byte("any\n"), 0o600); err != nil {
		return nil, err
	}
	free, err := r.setup.Ports.FreeN(5)
	if err != nil {
		return nil, err
	}
	p, err := process.Start(process.Spec{
		Name: "proxy", Path: r.setup.Tools["proxy"].Path, Log: filepath.Join(r.setup.Dir, "proxy.log"),
		Env: []string{"GOMAXPROCS=1", "SHUNT_DISCOVERY_CA=" + string(authority)},
		Args: []string{
			"run", "-discovery-address", c.address, "-token-file", token, "-pod-ips", "127.0.0.1",
			"-admin-socket", filepath.Join(r.setup.Dir, "admin.sock"),
			"-outbound-listen", free[0].String(), "-inbound-listen", free[1].String(), "-ready-listen", free[2].String(),
			"-admin-listen", free[3].String(), "-metrics-listen", free[4].String(),
		},
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	if err := p.Listens(ctx, free[2]); err != nil {
		return nil, err
	}
	time.Sleep(r.rest())
	m, err := measure.MemoryOf(p.PID())
	if err != nil {
		return nil, err
	}
	if err := waitCounter(ctx, fmt.Sprintf("http://%v/metrics", free[4]), "shunt_proxy_discovery_connected", 1); err != nil {
		return nil, err
	}
	return sample{scenario.RSS: float64(m.RSS) / measure.MiB, scenario.Private: float64(m.Anonymous) / measure.MiB}, nil
}

// The services whose endpoints are learnt: some before the growth is measured.
const (
	warmServices  = 10
	knownServices = 100
	perService    = 100 // 10,000 endpoints
)

// known is the growth of RSS by endpoints that discovery told of.
func (r *run) known(ctx context.Context) (out sample, err error) {
	c, err := r.control(ctx, "-services", fmt.Sprint(warmServices+knownServices), "-endpoints", fmt.Sprint(perService))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.process.Stop()) }()
	var vips []string
	for i := range warmServices + knownServices {
		vips = append(vips, serviceVIP(i).String())
	}
	t, err := r.setup.Start(ctx, scenario.Shunt, peers.Ask{Discovery: peers.Discovery{
		Address: c.address, CAFile: c.caFile, VIPs: strings.Join(vips, ","),
	}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.Stop()) }()
	if err := touch(ctx, t, warmServices); err != nil {
		return nil, err
	}
	before, err := r.memoryOf(t)
	if err != nil {
		return nil, err
	}
	if err := touch(ctx, t, knownServices); err != nil {
		return nil, err
	}
	if err := waitCounter(ctx, t.Metrics, "shunt_proxy_discovery_endpoints", (warmServices+knownServices)*perService); err != nil {
		return nil, err
	}
	after, err := r.memoryOf(t)
	if err != nil {
		return nil, err
	}
	return sample{
		scenario.Per10k: float64(after.RSS-before.RSS) / measure.MiB,
		scenario.RSS:    float64(after.RSS) / measure.MiB,
	}, nil
}

// touch makes connections; the sidecar takes each for one to the next service.
func touch(ctx context.Context, t *peers.Target, n int) error {
	for range n {
		if err := load.Touch(ctx, t.Aim); err != nil {
			return err
		}
	}
	return nil
}

func serviceVIP(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}), 80)
}
