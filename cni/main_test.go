// SPDX-License-Identifier: Apache-2.0

package cni_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/shuntmesh/shunt/cni"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/backends/onnode"
	"github.com/shuntmesh/shunt/redirect/netns"
)

var update = flag.Bool("update", false, "write the golden files")

// pluginEnv makes the test binary the plugin: "real", or "fake" with backends
// that write down in callsEnv what is asked of them, and answer as fakeEnv says.
const (
	pluginEnv = "SHUNT_TEST_PLUGIN"
	callsEnv  = "SHUNT_TEST_CALLS"
	fakeEnv   = "SHUNT_TEST_FAKE"
)

func TestMain(m *testing.M) {
	plugin := cni.Plugin{Backends: onnode.Backends, Enter: netns.In, Stdout: os.Stdout}
	switch os.Getenv(pluginEnv) {
	case "":
		os.Exit(m.Run())
	case "fake":
		plugin.Backends = func(bpffs string) []backends.Backend {
			all := []backends.Backend{
				{Backend: fake{"nftables"}, Name: "nftables"},
				{Backend: fake{"iptables"}, Name: "iptables"},
			}
			if bpffs != "" {
				all = append(all, backends.Backend{Backend: fake{"ebpf below " + bpffs}, Name: onnode.EBPF, Preferred: true})
			}
			return all
		}
		plugin.Enter = func(_ string, f func() error) error { return f() }
	}
	skel.PluginMainFuncs(plugin.Funcs(), cni.Versions(), "CNI plugin under test")
}

// fake is a backend of a plugin that runs as a process of its own.
type fake struct{ name string }

func (b fake) told(verb string) error {
	f, err := os.OpenFile(os.Getenv(callsEnv), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, b.name, verb); err != nil {
		return err
	}
	switch os.Getenv(fakeEnv) {
	case "unsupported":
		return fmt.Errorf("no such module: %w", errors.ErrUnsupported)
	case "unloaded":
		if b.name != "nftables" && b.name != "iptables" {
			return fmt.Errorf("no programs are loaded: %w", errors.ErrUnsupported)
		}
		return nil
	case "broken":
		return errors.New("operation not permitted")
	case "slow":
		return fmt.Errorf("lock network namespace: %w", context.DeadlineExceeded)
	case "different":
		return &redirect.Difference{Where: "ipv4 inbound rule 2", Want: "this", Got: "that"}
	default:
		return nil
	}
}

func (b fake) Apply(context.Context, redirect.Plan) (bool, error) { return true, b.told("apply") }
func (b fake) Check(context.Context, redirect.Plan) error         { return b.told("check") }
func (b fake) Remove(context.Context) error                       { return b.told("remove") }
func (b fake) Holds(context.Context) (bool, error)                { return false, nil }

// invocation is one start of the plugin.
type invocation struct {
	verb, stdin string
	netns       string            // "" for a path that is no namespace of ours
	env         map[string]string // beside the usual; a value "-" takes a variable away
	real        bool
}

// result is what came of it.
type result struct {
	code           int // of the process
	stdout, stderr string
	calls          string // to fake backends, separated by commas
}

const podArgs = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=0c5a"

func (i invocation) run(t testing.TB) result {
	t.Helper()
	dir := t.TempDir()
	if i.netns == "" {
		i.netns = dir
	}
	env := map[string]string{
		pluginEnv: "fake", callsEnv: filepath.Join(dir, "calls"), "PATH": os.Getenv("PATH"),
		"CNI_COMMAND": i.verb, "CNI_CONTAINERID": "c1", "CNI_NETNS": i.netns, "CNI_IFNAME": "eth0", "CNI_PATH": dir, "CNI_ARGS": podArgs,
	}
	if i.real {
		env[pluginEnv] = "real"
	}
	for name, value := range i.env {
		env[name] = value
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(i.stdin), &out, &errOut
	for name, value := range env {
		if value != "-" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	calls, err := os.ReadFile(env[callsEnv])
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errOut.String(), strings.Join(strings.Split(strings.TrimSpace(string(calls)), "\n"), ",")}
}

// stdinOf reads an example.
func stdinOf(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "add", name+".json"))
	if errors.Is(err, os.ErrNotExist) {
		data, err = os.ReadFile(filepath.Join("testdata", "verbs", name+".json"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
