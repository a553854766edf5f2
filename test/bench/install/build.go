// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"debug/buildinfo"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/shuntmesh/shunt/test/bench/load"
	"github.com/shuntmesh/shunt/test/bench/process"
)

// Profile is where the product keeps the CPU profile that the compiler goes by.
const Profile = "cmd/proxy/default.pgo"

// Build compiles our own programs, as the product's are compiled: those of this
// module, whose folder is source, and the product's proxy.
func Build(ctx context.Context, source, dir string) (map[string]load.Tool, error) {
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return nil, err
	}
	tools := map[string]load.Tool{}
	product := filepath.Join(source, "../..")
	profile, err := filepath.Abs(filepath.Join(product, Profile))
	if err != nil {
		return nil, err
	}
	for _, b := range []struct {
		folder   string
		profile  string
		packages []string
	}{
		{source, "off", []string{"backend", "gateway", "control"}},
		{source, profile, []string{"sidecar"}},
		{product, "auto", []string{"cmd/proxy"}},
	} {
		args := []string{"build", "-C", b.folder, "-trimpath", "-ldflags=-s -w", "-pgo=" + b.profile, "-o", bin + "/"} // -C must come first
		for _, p := range b.packages {
			args = append(args, "./"+p)
			name := filepath.Base(p)
			tools[name] = load.Tool{Path: filepath.Join(bin, name)}
		}
		spec := process.Spec{Name: "go", Path: "go", Args: args, Env: []string{"CGO_ENABLED=0"}}
		if _, err := process.Output(ctx, 10*time.Minute, spec); err != nil {
			return nil, err
		}
	}
	return tools, nil
}

// Versions asks the programs for theirs. Those of Go modules are in the
// backend's binary.
func Versions(ctx context.Context, tools map[string]load.Tool) map[string]string {
	out := map[string]string{}
	for program, flag := range map[string]string{
		"haproxy": "-v", "nginx": "-v", "envoy": "--version", "h2load": "--version", "wrk": "-v", "iperf3": "--version",
	} {
		tool, ok := tools[program]
		if !ok {
			continue
		}
		// wrk -v ends with status 1.
		shell := process.Spec{Name: program, Path: "/bin/sh", Args: []string{"-c", `"$0" "$1" 2>&1 || true`, tool.Path, flag}, Env: tool.Env}
		text, err := process.Output(ctx, 10*time.Second, shell)
		if err != nil {
			text = err.Error()
		}
		out[program] = version(text)
	}
	info, err := buildinfo.ReadFile(tools["backend"].Path)
	if err != nil {
		return out
	}
	out["go"] = info.GoVersion
	for _, m := range info.Deps {
		switch m.Path {
		case "google.golang.org/grpc":
			out["grpc-go"] = m.Version
		case "github.com/valyala/fasthttp":
			out["fasthttp"] = m.Version
		}
	}
	return out
}

var versionPattern = regexp.MustCompile(`\d+\.\d+[^\s,/]*`)

// version is the first thing in an output that looks like one.
func version(text string) string {
	if v := versionPattern.FindString(text); v != "" {
		return v
	}
	return strings.TrimSpace(text)
}
