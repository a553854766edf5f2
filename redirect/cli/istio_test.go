// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/redirect/cli"
)

// istioRow is a row of the table in docs/redirect.md: what is asked for, which
// plan or refusal comes of it, and that the opposite is refused where it must be.
type istioRow struct {
	name    string   // as the table has it
	short   string   // "" for none
	value   string   // given to the flag or the variable
	more    []string // other arguments
	want    string   // in the printed plan, or in the refusal
	refused bool
}

func istioTable() []istioRow {
	all := []string{"-b", "*", "-i", "*"}
	plan := func(name, short, value, want string) istioRow { return istioRow{name, short, value, all, want, false} }
	refused := func(name, short, value, want string) istioRow { return istioRow{name, short, value, all, want, true} }
	return []istioRow{
		plan("--envoy-port", "-p", "15101", "tcp -> capture at 15101  # everything else that leaves"),
		plan("--inbound-capture-port", "-z", "15106", "tcp listened -> capture at 15106  # everything else that arrives"),
		plan("--inbound-tunnel-port", "-e", "15108", "tcp port tunnel_port{15108} -> pass"),
		plan("--proxy-uid", "-u", "7,8", "tcp uid 8 -> pass  # the proxy's own connections"),
		refused("--proxy-uid", "-u", "istio-proxy", "no uid or gid"),
		refused("--proxy-uid", "-u", "0", "1 to 4294967294"),
		plan("--proxy-gid", "-g", "7,8", "tcp gid 8 -> pass  # the proxy's own connections"),
		plan("--istio-inbound-interception-mode", "-m", "REDIRECT", "capture at 15006"),
		refused("--istio-inbound-interception-mode", "-m", "TPROXY", "allowed: REDIRECT"),
		{"--istio-inbound-ports", "-b", "80,9000-9010", nil, "tcp port include_inbound_ports{80,9000-9010} listened -> capture at 15006", false},
		plan("--istio-local-exclude-ports", "-d", "80,9000-9010", "tcp port exclude_inbound_ports{80,9000-9010} -> pass"),
		plan("--istio-exclude-interfaces", "-c", "net1,net2", "tcp over net2 -> pass  # excluded interfaces"),
		{"--istio-service-cidr", "-i", "10.0.0.0/8,fd00::/8", nil, "tcp to include_outbound_cidrs{fd00::/8} -> capture at 15001", false},
		{"--istio-service-cidr", "-i", "127.0.0.1/32", nil, "loopback is never captured", true},
		plan("--istio-service-exclude-cidr", "-x", "10.0.0.0/8", "tcp to exclude_outbound_cidrs{10.0.0.0/8} -> pass"),
		refused("--istio-service-exclude-cidr", "-x", "*", "exclude every destination"),
		plan("--istio-outbound-ports", "-q", "443,9000-9010", "tcp port include_outbound_ports{443,9000-9010} -> capture at 15001"),
		plan("--istio-local-outbound-ports-exclude", "-o", "443,9000-9010", "tcp port exclude_outbound_ports{443,9000-9010} -> pass"),
		refused("--kube-virt-interfaces", "-k", "eth1", "not supported yet"),
		refused("--istio-inbound-tproxy-mark", "-t", "1", "TPROXY is not supported yet"),
		refused("--istio-inbound-tproxy-route-table", "-r", "1", "TPROXY is not supported yet"),
		plan("--dry-run", "-n", "true", "everything else that leaves"),
		refused("--iptables-probe-port", "", "1", "redirect check"),
		refused("--probe-timeout", "", "1s", "redirect check"),
		refused("--skip-rule-apply", "", "true", "redirect check"),
		refused("--run-validation", "", "true", "redirect check"),
		refused("--redirect-dns", "", "true", "DNS proxy"),
		plan("--drop-invalid", "", "true", "tcp invalid -> drop"),
		plan("--dual-stack", "", "true", "ipv6 outbound"),
		refused("--dual-stack", "", "false", "both families are always steered"),
		refused("--capture-all-dns", "", "true", "DNS proxy"),
		plan("--network-namespace", "", "/proc/self/ns/net", "everything else that leaves"),
		refused("--cni-mode", "", "true", "--netns"),
		plan("--reconcile", "", "true", "everything else that leaves"),
		refused("--cleanup-only", "", "true", "redirect remove"),
		plan("--force-apply", "", "true", "everything else that leaves"),
		plan("--native-nftables", "", "true", "everything else that leaves"),
		plan("--force-iptables-binary", "", "legacy", "everything else that leaves"),
		refused("--force-iptables-binary", "", "xtables", "allowed: nft, legacy"),
		plan("$ISTIO_OUTBOUND_OWNER_GROUPS", "", "7,8", "tcp gid not of [7 8] -> pass"),
		refused("$ISTIO_OUTBOUND_OWNER_GROUPS", "", "java", "no uid or gid"),
		plan("$ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "", "0", "tcp gid 0 -> pass  # excluded owner groups"),
		plan("$ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "", "127.0.0.1/32", "tcp to loopback{127.0.0.0/8} -> pass"),
		refused("$ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "", "127.0.0.1/16", "all of 127.0.0.0/8"),
		refused("$ISTIO_META_DNS_CAPTURE", "", "true", "DNS proxy"),
		plan("$INVALID_DROP", "", "true", "tcp invalid -> drop"),
		plan("$ISTIO_DUAL_STACK", "", "true", "ipv6 outbound"),
		refused("$ENVOY_USER", "", "istio-proxy", "not possible without -u"),
		{"$ENVOY_USER", "", "istio-proxy", append([]string{"-u", "7"}, all...), "tcp uid 7 -> pass", false},
		plan("$INBOUND_INTERCEPTION_MODE", "", "REDIRECT", "capture at 15006"),
		refused("$INBOUND_INTERCEPTION_MODE", "", "TPROXY", "allowed: REDIRECT"),
		refused("$INBOUND_TPROXY_MARK", "", "1", "TPROXY"),
	}
}

// TestIstioFlags does what each row of the table says, by every name.
func TestIstioFlags(t *testing.T) {
	for _, row := range istioTable() {
		for _, name := range []string{row.name, row.short} {
			if name == "" {
				continue
			}
			t.Run(name+"="+row.value, func(t *testing.T) {
				args, env := append([]string{"apply", "--dry-run"}, row.more...), map[string]string{}
				if variable, ok := strings.CutPrefix(name, "$"); ok {
					env[variable] = row.value
				} else {
					args = append(args, name+"="+row.value)
				}
				code, out, errOut := runWith(t, of(absent{}, absent{}), env, args...)
				if row.refused {
					if code != cli.ExitUsage || !strings.Contains(errOut, row.want) {
						t.Errorf("exit code %d, %q; want a refusal that says %q", code, errOut, row.want)
					}
					return
				}
				if code != cli.ExitOK || !strings.Contains(out, row.want) {
					t.Errorf("exit code %d, %s%s; want %q", code, out, errOut, row.want)
				}
			})
		}
	}
}

// TestIstioTableIsTold compares the rows with docs/redirect.md: each is told,
// by the same names, and as refused exactly where some value is.
func TestIstioTableIsTold(t *testing.T) {
	doc, err := os.ReadFile("../../docs/redirect.md")
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[string][]string)
	for l := range strings.Lines(string(doc)) {
		if cells := strings.Split(l, "|"); len(cells) == 5 && strings.ContainsAny(cells[1], "-$") && strings.Contains(cells[1], "`") {
			told[strings.Trim(cells[1], " `")] = []string{strings.Trim(cells[2], " `"), strings.TrimSpace(cells[3])}
		}
	}
	var tested []string
	for _, row := range istioTable() {
		tested = append(tested, row.name)
		cells := told[row.name]
		if cells == nil || cells[0] != row.short {
			t.Errorf("%s %s is told as %v", row.name, row.short, cells)
			continue
		}
		word, _, _ := strings.Cut(strings.TrimSuffix(cells[1], ":"), " ")
		switch word = strings.TrimSuffix(word, ":"); {
		case word == "refused" && !row.refused && row.name != "$ENVOY_USER", word != "refused" && word != "yes" && word != "accepted":
			t.Errorf("%s: %q, but value %q gives refused=%v", row.name, cells[1], row.value, row.refused)
		}
	}
	for name := range told {
		if !slices.Contains(tested, name) {
			t.Errorf("%s is told and has no test", name)
		}
	}
	if len(told) < 40 {
		t.Errorf("%d rows found in docs/redirect.md, want the whole table", len(told))
	}
}

// TestEnvironmentIsBelowFlags, and read by its own name for a flag.
func TestEnvironmentIsBelowFlags(t *testing.T) {
	env := map[string]string{"ISTIO_INBOUND_PORTS": "80", "PROXY_UID": "7", "DRY_RUN": "true", "ISTIO_SERVICE_CIDR": ""}
	var f fake
	code, _, errOut := runWith(t, of(&f, absent{}), env, "apply", "-u", "8")
	if code != cli.ExitOK {
		t.Fatalf("exit code %d, %s", code, errOut)
	}
	got := f.plan.String()
	if !strings.Contains(got, "include_inbound_ports{80}") || !strings.Contains(got, "uid 8 ") || strings.Contains(got, "uid 7 ") {
		t.Errorf("plan:\n%s", got)
	}
	code, _, errOut = runWith(t, nil, map[string]string{"PROXY_UID": "proxy"}, "apply")
	if code != cli.ExitUsage || !strings.Contains(errOut, `environment variable PROXY_UID: value "proxy"`) {
		t.Errorf("exit code %d, %q; want the variable to be named", code, errOut)
	}
}

// TestListsInFlags add to their default, or replace it.
func TestListsInFlags(t *testing.T) {
	for list, want := range map[string]string{
		"+8081": "exclude_inbound_ports{8081,15020-15021,15090}",
		"=8081": "exclude_inbound_ports{8081}",
		"8081":  "exclude_inbound_ports{8081}",
	} {
		_, out, errOut := run(t, nil, "print", "-b", "*", "-d", list)
		if !strings.Contains(out, want) {
			t.Errorf("-d %s: %s%s, want %s", list, out, errOut, want)
		}
	}
	_, out, errOut := run(t, nil, "print", "-b", "+*", "-i", "=10.0.0.0/8", "-d", "=")
	if strings.Contains(out, "exclude_inbound_ports") || !strings.Contains(out, "include_outbound_cidrs{10.0.0.0/8}") {
		t.Errorf("-d = and -i =10.0.0.0/8: %s%s", out, errOut)
	}
}
