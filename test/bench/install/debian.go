// SPDX-License-Identifier: Apache-2.0

// Package install gets the programs that a run needs. What the host has is
// used; what it lacks is unpacked into a cache: nothing on the host is replaced,
// removed or started.
package install

import (
	"context"

	"github.com/shuntmesh/shunt/test/bench/load"
	"github.com/shuntmesh/shunt/test/debian"
)

// debians are programs of Debian packages, of the versions that the goals were
// set against; the results name those that ran.
func debians() []debian.Program {
	return []debian.Program{
		{Name: "haproxy", Package: "haproxy", Version: "2.6.12-1+deb12u4", Path: "usr/sbin/haproxy"},
		{Name: "nginx", Package: "nginx", Version: "1.22.1-9+deb12u11", Path: "usr/sbin/nginx"},
		{Name: "h2load", Package: "nghttp2-client", Version: "1.52.0-1+deb12u3", Path: "usr/bin/h2load"},
		{Name: "wrk", Package: "wrk", Version: "4.1.0-3+b2", Path: "usr/bin/wrk"},
		{Name: "iperf3", Package: "iperf3", Version: "3.12-1+deb12u2", Path: "usr/bin/iperf3"},
	}
}

// Debian returns the programs of Debian packages, from the host or unpacked
// below dir.
func Debian(ctx context.Context, dir string, note func(string)) (map[string]load.Tool, error) {
	got, err := debian.Programs(ctx, dir, debians(), note)
	tools := map[string]load.Tool{}
	for name, tool := range got {
		tools[name] = load.Tool(tool)
	}
	return tools, err
}
