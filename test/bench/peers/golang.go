// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/shuntmesh/shunt/test/bench/certs"
	"github.com/shuntmesh/shunt/test/bench/load"
	"github.com/shuntmesh/shunt/test/bench/process"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// gateway starts a peer that is written in Go.
func (s Setup) gateway(ctx context.Context, t *Target, a Ask) error {
	listen, err := s.Ports.Free()
	if err != nil {
		return err
	}
	kind := "grpc"
	if t.Name == scenario.ReverseProxy {
		kind = "h2"
		if a.Protocol == scenario.HTTP1 {
			kind = "h1"
		}
	}
	t.Aim = load.Aim{Address: listen}
	return s.run(ctx, t, listen, process.Spec{Name: "gateway", Env: one(), Args: []string{
		"-kind", kind, "-listen", listen.String(), "-backend", a.Backends[0].String(),
	}})
}

// shunt starts ours, as the client's sidecar.
func (s Setup) shunt(ctx context.Context, t *Target, a Ask) error {
	if a.TLS == scenario.Front {
		return s.front(ctx, t, a)
	}
	var args []string
	if a.Discovery.Address == "" {
		args = append(args, "-backends", join(a.Backends))
	} else {
		token := filepath.Join(s.Dir, "token")
		if err := write(token, "any\n"); err != nil {
			return err
		}
		args = append(args, "-discovery-address", a.Discovery.Address, "-discovery-ca", a.Discovery.CAFile, "-token-file", token,
			"-vips", a.Discovery.VIPs)
	}
	outbound, _, metrics, err := s.sidecar(ctx, t, args)
	t.Aim, t.Metrics = load.Aim{Address: outbound}, metrics
	return err
}

// front starts ours as the server's sidecar, which is where TLS is ended.
func (s Setup) front(ctx context.Context, t *Target, a Ask) error {
	args := append([]string{"-application", a.Backends[0].String(), "-backends", a.Backends[0].String()}, tlsArgs(s.Certs, false)...)
	_, inbound, metrics, err := s.sidecar(ctx, t, args)
	t.Aim, t.Metrics = load.Aim{Address: inbound, TLS: true}, metrics
	return err
}

// chain starts two of ours: the client's sidecar before the server's.
func (s Setup) chain(ctx context.Context, t *Target, a Ask) error {
	var secure []string
	if a.TLS == scenario.Mesh {
		secure = tlsArgs(s.Certs, true)
	}
	_, inbound, _, err := s.sidecar(ctx, t, append([]string{"-application", a.Backends[0].String(), "-backends", a.Backends[0].String()}, secure...))
	if err != nil {
		return err
	}
	outbound, _, metrics, err := s.sidecar(ctx, t, append([]string{"-backends", inbound.String()}, secure...))
	t.Aim, t.Metrics = load.Aim{Address: outbound}, metrics
	return err
}

func (s Setup) sidecar(ctx context.Context, t *Target, args []string) (outbound, inbound netip.AddrPort, metrics string, err error) {
	free, err := s.Ports.FreeN(5)
	if err != nil {
		return
	}
	outbound, inbound, ready := free[0], free[1], free[2]
	args = append(args,
		"-outbound-listen", outbound.String(), "-inbound-listen", inbound.String(), "-ready-listen", ready.String(),
		"-admin-listen", free[3].String(), "-metrics-listen", free[4].String())
	metrics = fmt.Sprintf("http://%v/metrics", free[4])
	if s.Profiles != "" {
		args = append(args, "-profile", filepath.Join(s.Profiles, outbound.String()+".pprof")) // a port is used once
	}
	err = s.run(ctx, t, ready, process.Spec{Name: "sidecar", Env: one(), Args: args})
	return
}

func tlsArgs(c certs.Files, mutual bool) []string {
	args := []string{"-tls-cert", c.Cert, "-tls-key", c.Key}
	if mutual {
		args = append(args, "-tls-ca", c.CA)
	}
	return args
}

func join(all []netip.AddrPort) string {
	texts := make([]string, len(all))
	for i, ap := range all {
		texts[i] = ap.String()
	}
	return strings.Join(texts, ",")
}
