// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"context"
	"embed"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/shuntmesh/shunt/test/bench/certs"
	"github.com/shuntmesh/shunt/test/bench/load"
	"github.com/shuntmesh/shunt/test/bench/process"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

//go:embed config
var configs embed.FS

// hop is what a template is filled with: one proxy process.
type hop struct {
	Listen   netip.AddrPort
	Backends []netip.AddrPort
	GRPC     bool
	TCP      bool
	TLSIn    bool // records come in
	MutualIn bool // and the client must show a certificate
	TLSOut   bool // records go out, with our certificate
	Certs    certs.Files
	Dir      string
	Root     bool
	// LargeBuffers are what one sets for large messages.
	LargeBuffers bool
}

// Secure tells whether any side has TLS.
func (h hop) Secure() bool { return h.TLSIn || h.TLSOut }

// render fills in a template of config/.
func render(name string, h hop) (string, error) {
	t, err := template.ParseFS(configs, "config/"+name+".tmpl")
	if err != nil {
		return "", fmt.Errorf("parse configuration: %w", err)
	}
	var out strings.Builder
	if err := t.Execute(&out, h); err != nil {
		return "", fmt.Errorf("fill in configuration: %w", err)
	}
	return out.String(), nil
}

// hops are the proxies between client and backends, from the last to the first.
func hops(a Ask, listen []netip.AddrPort, s Setup) []hop {
	base := hop{
		Backends: a.Backends, Certs: s.Certs, Dir: s.Dir, Root: os.Geteuid() == 0, LargeBuffers: a.largeBuffers,
		GRPC: a.Protocol == scenario.GRPC, TCP: a.Protocol == scenario.TCP,
	}
	last := base
	last.Listen, last.TLSIn = listen[0], a.TLS != scenario.Plain
	if a.TLS != scenario.Mesh {
		return []hop{last}
	}
	last.MutualIn = true
	first := base
	first.Listen, first.Backends, first.TLSOut = listen[1], listen[:1], true
	return []hop{last, first}
}

// foreign starts haproxy, nginx or Envoy.
func (s Setup) foreign(ctx context.Context, t *Target, program string, a Ask) error {
	listen, err := s.Ports.FreeN(2)
	if err != nil {
		return err
	}
	for _, h := range hops(a, listen, s) {
		file, args := command(program, h)
		text, err := render(file, h)
		if err != nil {
			return err
		}
		path := filepath.Join(s.Dir, fmt.Sprintf("%d-%s", h.Listen.Port(), file))
		if err := write(path, text); err != nil {
			return err
		}
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "CONFIG", path)
		}
		if err := s.run(ctx, t, h.Listen, process.Spec{Name: program, Args: args}); err != nil {
			return err
		}
		t.Aim = load.Aim{Address: h.Listen, TLS: h.TLSIn}
	}
	return nil
}

// command is the configuration's name and the arguments, where CONFIG stands
// for its path. All stay in the foreground.
func command(program string, h hop) (file string, args []string) {
	switch program {
	case scenario.HAProxy:
		return "haproxy.cfg", []string{"-db", "-f", "CONFIG"}
	case scenario.Nginx:
		return "nginx.conf", []string{"-p", h.Dir, "-e", "stderr", "-c", "CONFIG"}
	default:
		return "envoy.yaml", []string{"-c", "CONFIG", "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"}
	}
}
