// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/backends"
	"github.com/shuntmesh/shunt/redirect/cli"
)

var update = flag.Bool("update", false, "write the golden files")

// article is the command line that everybody has from Istio's documentation.
func article(verb string, more ...string) []string {
	args := []string{verb, "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x", "", "-b", "*", "-d", "15090,15020"}
	return append(args, more...)
}

// fake answers as it is told and remembers the plan.
type fake struct {
	changed bool
	err     error
	plan    redirect.Plan
	verb    string
}

func (f *fake) Apply(_ context.Context, p redirect.Plan) (bool, error) {
	f.verb, f.plan = "apply", p
	return f.changed, f.err
}

func (f *fake) Check(_ context.Context, p redirect.Plan) error {
	f.verb, f.plan = "check", p
	return f.err
}

func (f *fake) Holds(context.Context) (bool, error) { return f.verb == "apply", nil }

func (f *fake) Remove(context.Context) error {
	f.verb = "remove"
	return f.err
}

// absent is a backend that can't work here.
type absent struct{}

func (absent) Apply(context.Context, redirect.Plan) (bool, error) {
	return false, errors.ErrUnsupported
}
func (absent) Check(context.Context, redirect.Plan) error { return errors.ErrUnsupported }
func (absent) Remove(context.Context) error               { return errors.ErrUnsupported }
func (absent) Holds(context.Context) (bool, error)        { return false, nil }

// of are backends under the usual names, of which the last is part of the second.
func of(nft, ipt redirect.Backend) []backends.Backend {
	return []backends.Backend{
		{Backend: nft, Name: "nftables"},
		{Backend: ipt, Name: "iptables"},
		{Backend: absent{}, Name: "iptables-legacy", Forced: true},
	}
}

func run(t *testing.T, b redirect.Backend, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return runWith(t, of(b, absent{}), nil, args...)
}

func runWith(t *testing.T, all []backends.Backend, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	lookup := func(name string) (string, bool) { value, ok := env[name]; return value, ok }
	code = cli.Run(t.Context(), args, cli.Env{Stdout: &out, Stderr: &errOut, Backends: all, LookupEnv: lookup})
	return code, out.String(), errOut.String()
}

func TestPrintGolden(t *testing.T) {
	for _, format := range []string{"text", "json", "yaml", "nft", "iptables"} {
		t.Run(format, func(t *testing.T) {
			code, out, errOut := run(t, nil, article("print", "-o", format)...)
			if code != cli.ExitOK || errOut != "" {
				t.Fatalf("exit code %d, %s", code, errOut)
			}
			if format == "json" && !json.Valid([]byte(out)) {
				t.Error("the output is no JSON")
			}
			path := filepath.Join("testdata", "article."+format)
			if *update {
				if err := os.WriteFile(path, []byte(out), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out); diff != "" {
				t.Errorf("%s (-want +got):\n%s", path, diff)
			}
		})
	}
}

// TestLongNames gives the same plan for Istio's long names, for what is
// accepted because it is done anyway, and for refused flags at their default.
func TestLongNames(t *testing.T) {
	var short, long, defaults fake
	run(t, &short, article("apply", "-g", "1337,7", "-q", "80", "-o", "3306,9000-9010", "-e", "15008")...)
	code, _, errOut := run(t, &long, "apply", "--envoy-port=15001", "--inbound-capture-port", "15006", "--proxy-uid=1337",
		"--proxy-gid=1337,7", "--istio-inbound-interception-mode=REDIRECT", "--istio-service-cidr=*", "--istio-service-exclude-cidr=",
		"--istio-inbound-ports=*", "--istio-local-exclude-ports=15090,15020", "--istio-outbound-ports=80",
		"--istio-local-outbound-ports-exclude=3306,9000-9010", "--inbound-tunnel-port=15008")
	if code != cli.ExitOK {
		t.Fatalf("long names: exit code %d, %s", code, errOut)
	}
	if diff := cmp.Diff(short.plan.String(), long.plan.String()); diff != "" {
		t.Errorf("long names (-short +long):\n%s", diff)
	}
	code, _, errOut = run(t, &defaults, article("apply", "--proxy-uid=", "-g", "1337,7", "-q", "80", "-o", "3306,9000-9010",
		"--force-apply", "--reconcile", "--native-nftables", "--dual-stack", "-c", "", "-k", "", "-t", "1337", "-r", "133",
		"--redirect-dns=false", "--probe-timeout", "5s", "--iptables-probe-port", "15002", "--run-validation=false")...)
	if code != cli.ExitOK {
		t.Fatalf("defaults: exit code %d, %s", code, errOut)
	}
	if diff := cmp.Diff(short.plan.String(), defaults.plan.String()); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

// TestGroupsFollowUsers wherever the two flags stand.
func TestGroupsFollowUsers(t *testing.T) {
	for args, want := range map[string]string{
		"":                    "uid 1337,gid 1337",
		"-u 7":                "uid 7,gid 7",
		"-u 7 -g 8,9":         "uid 7,gid 8,gid 9",
		"-g 8 -u 7":           "uid 7,gid 8",
		"--proxy-gid= -u7":    "",
		"--proxy-gid= -u=7,8": "uid 7,uid 8,gid 7,gid 8",
	} {
		var f fake
		run(t, &f, append([]string{"apply"}, strings.Fields(args)...)...)
		var got []string
		if len(f.plan.Families) > 0 {
			for _, r := range f.plan.Families[0].Chains[0].Rules {
				if m := strings.TrimSpace(r.Match.String()); r.Action == redirect.Pass && (r.Match.UID != nil || r.Match.GID != nil) {
					got = append(got, m)
				}
			}
		}
		if strings.Join(got, ",") != want {
			t.Errorf("apply %s: owners %v, want %s", args, got, want)
		}
	}
}

func TestBadCommandLines(t *testing.T) {
	tests := []struct {
		args string // fields; % stands for an empty value
		want []string
	}{
		{"apply -m TPROXY", []string{`"TPROXY"`, "flag -m", "allowed: REDIRECT"}},
		{"apply -x *", []string{`"*"`, "flag -x", "exclude every destination"}},
		{"apply -b http", []string{`"http"`, "flag -b", "1 to 65535"}},
		{"apply -b *,80", []string{`"*,80"`, "flag -b"}},
		{"apply -b 90-80", []string{"flag -b", "reversed"}},
		{"apply -o *", []string{"flag -o"}},
		{"apply -i 10.0.0.0/33", []string{"flag -i", "no CIDR"}},
		{"apply -p 80-90", []string{"flag -p", "not one port"}},
		{"apply -p %", []string{"flag -p", "not one port"}},
		{"apply -u istio-proxy", []string{"flag -u", "no uid or gid", "1 to 4294967294"}},
		{"apply -u 0", []string{"-u/--proxy-uid", `"0"`}},
		{"apply -g 1,,2", []string{"flag -g", `""`}},
		{"apply -z 15001", []string{"-z/--inbound-capture-port", `"15001"`}},
		{"apply -i ::1", []string{"-i/--istio-service-cidr", "loopback is never captured"}},
		{"apply --ipv6 maybe", []string{"flag -ipv6", "allowed: on, off"}},
		{"apply --ipv6 off -x fd00::/8", []string{"--ipv6 is off"}},
		{"apply -k eth1", []string{"flag -k", "virtual machines"}},
		{"apply -t 1", []string{"flag -t", "TPROXY is not supported"}},
		{"apply --redirect-dns", []string{"flag redirect-dns", "DNS proxy"}},
		{"apply --capture-all-dns", []string{"DNS proxy"}},
		{"apply --run-validation", []string{"redirect check"}},
		{"apply --skip-rule-apply", []string{"redirect check"}},
		{"apply --cleanup-only", []string{"redirect remove"}},
		{"apply --cni-mode", []string{"--netns"}},
		{"apply --force-iptables-binary xtables", []string{`"xtables"`, "allowed: nft, legacy"}},
		{"apply --native-nftables=maybe", []string{"allowed: true, false"}},
		{"apply --backend ebpf", []string{"--backend", `"ebpf"`, "auto, nftables, iptables, iptables-legacy"}},
		{"apply --closed-ports drop", []string{"flag -closed-ports", `"drop"`, "allowed: refuse, capture, or auto"}},
		{"apply -c eth+", []string{"flag -c", `"eth+"`, "without wildcards"}},
		{"apply -d ++80", []string{"flag -d", `port "+80" is not a number`}},
		{"apply --owner-groups java", []string{`"java"`, "no uid or gid", "names mean nothing"}},
		{"apply --exclude-owner-groups 1,", []string{"no uid or gid"}},
		{"apply --include-inbound-cidrs ten", []string{"no CIDR"}},
		{"apply --ipv4 off --ipv6 off", []string{"--ipv6", "--ipv4 is off"}},
		{"explain", []string{"0 arguments", "tcp 10.0.0.5:443"}},
		{"explain tcp", []string{"1 arguments"}},
		{"explain sctp 10.0.0.5:443", []string{`"sctp"`, "allowed: tcp, udp"}},
		{"explain tcp 10.0.0.5", []string{`"10.0.0.5"`, "10.0.0.5:443"}},
		{"explain tcp 10.0.0.5:0", []string{"not possible"}},
		{"explain tcp :http", []string{`":http"`, "1 to 65535"}},
		{"explain tcp 10.0.0.5:443 --uid root", []string{`"root"`, "no uid or gid"}},
		{"explain tcp 10.0.0.5:443 --from home", []string{`"home"`, "not an address"}},
		{"explain tcp 10.0.0.5:443 --direction up", []string{`"up"`, "outbound, inbound, both"}},
		{"explain tcp 10.0.0.5:443 --exclude-inbound-cidrs 10.0.0.0/8", []string{"--from", "the caller's address"}},
		{"detect -p 1", []string{"not defined: -p"}},
		{"detect -o nft", []string{`"nft"`, "allowed: text, json, yaml"}},
		{"apply --dual-stack=false", []string{"see --ipv4 and --ipv6"}},
		{"apply --nonsense", []string{"nonsense"}},
		{"apply 15001", []string{`unexpected argument "15001"`}},
		{"check --dry-run", []string{"dry-run"}},
		{"remove -p 15001", []string{"not defined: -p"}},
		{"print -o toml", []string{`"toml"`, "neither a format nor ports", "allowed: text, json, yaml, nft, iptables"}},
		{"improve", []string{`unknown command "improve"`, "apply, check, remove, validate, print, explain, detect"}},
		{"", []string{"redirect apply"}},
	}
	for _, tt := range tests {
		args := strings.Fields(tt.args)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "%", "")
		}
		b := &fake{}
		code, out, errOut := run(t, b, args...)
		if code != cli.ExitUsage || out != "" || b.verb != "" {
			t.Errorf("redirect %s: exit code %d, output %q, backend %q; want code 2 and nothing done", tt.args, code, out, b.verb)
		}
		for _, part := range tt.want {
			if !strings.Contains(errOut, part) {
				t.Errorf("redirect %s: says %q, want it to say %q", tt.args, errOut, part)
			}
		}
	}
}

func TestExitCodes(t *testing.T) {
	different := &redirect.Difference{Where: "ipv4 inbound rule 2", Want: "this", Got: "that"}
	broken := errors.New("broken")
	tests := []struct {
		backend fake
		args    []string
		code    int
		out     string
		errOut  string
	}{
		{fake{changed: true}, article("apply"), cli.ExitOK, "redirect: applied by nftables\n", ""},
		{fake{}, article("apply"), cli.ExitOK, "redirect: no change\n", ""},
		{fake{err: broken}, article("apply"), cli.ExitFailed, "", "redirect apply: nftables: broken\n"},
		{fake{}, article("check"), cli.ExitOK, "redirect: as planned\n", ""},
		{fake{err: different}, article("check"), cli.ExitDifferent, "", "redirect check: ipv4 inbound rule 2: want this, found that\n"},
		{fake{err: broken}, article("check"), cli.ExitFailed, "", "redirect check: broken\n"},
		{fake{}, []string{"remove"}, cli.ExitOK, "redirect: removed\n", ""},
		{fake{err: broken}, []string{"remove"}, cli.ExitFailed, "", "redirect remove: broken\n"},
		{fake{}, []string{"remove", "--netns", "/nonexistent"}, cli.ExitFailed, "", "redirect remove: open network namespace: open /nonexistent: no such file or directory\n"},
	}
	for _, tt := range tests {
		code, out, errOut := run(t, &tt.backend, tt.args...)
		if code != tt.code || out != tt.out || errOut != tt.errOut {
			t.Errorf("%v: got %d, %q, %q; want %d, %q, %q", tt.args, code, out, errOut, tt.code, tt.out, tt.errOut)
		}
	}
}

func TestDryRunTouchesNothing(t *testing.T) {
	b := &fake{}
	code, out, _ := run(t, b, article("apply", "-n")...)
	if code != cli.ExitOK || b.verb != "" || !strings.Contains(out, "capture at 15006") {
		t.Errorf("exit code %d, backend %q, output %q; want the plan and nothing done", code, b.verb, out)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"-h"}, {"help"}, {"apply", "-h"}, {"check", "--help"}, {"remove", "-h"}, {"print", "-h"}, {"explain", "-h"}, {"detect", "-h"}} {
		code, out, errOut := run(t, nil, args...)
		if code != cli.ExitOK || errOut != "" || !strings.Contains(out, "Exit codes:") {
			t.Errorf("redirect %v: exit code %d, %q, %q; want help", args, code, out, errOut)
		}
	}
}

// FuzzFlags feeds every flag: no input may panic, and what is accepted renders.
func FuzzFlags(f *testing.F) {
	f.Add("print\n-p\n15001\n-b\n*\n-d\n15090,9000-9010\n-i\n10.0.0.0/8,::/0\n-x\n\n-u\n1337,7\n-o\n1-65535")
	f.Add("print\n--istio-inbound-ports=1-2,2-3,65535\n--ipv6=off\n-g=\n-o=nft")
	f.Add("print\n-c\n+net1,eth0.5\n--owner-groups\n*\n--exclude-owner-groups=+0,2\n--include-inbound-cidrs==10.0.0.0/8\n--ipv4=off\n-o\niptables")
	f.Add("print\n-b\n+*\n-d\n=\n--drop-invalid\n--exclude-inbound-cidrs\n=fd00::/8,10.0.0.1\n-o\nyaml")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\n")
		args[0] = "print"
		code, out, errOut := run(t, nil, args...)
		switch {
		case code == cli.ExitOK && out != "" && errOut == "":
		case code == cli.ExitUsage && out == "" && errOut != "":
		default:
			t.Fatalf("redirect %q: exit code %d, output %q, errors %q", args, code, out, errOut)
		}
	})
}
