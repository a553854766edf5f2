// SPDX-License-Identifier: Apache-2.0

package flags

import (
	"errors"
	"slices"
	"strings"
)

// istio is a flag of istio-iptables, which reads an environment variable of
// the same name where the flag isn't given.
func istio(long, short, value, usage string, set func(string) error) Option {
	env := strings.ToUpper(strings.ReplaceAll(long, "-", "_"))
	return Option{long, short, value, usage, set, env}
}

// Istio returns the other flags of istio-iptables: those that ask for what is done
// anyway, and those for what can't be done, which are refused.
func (f *Flags) Istio() []Option { return append(f.satisfied(), refused()...) }

// satisfied are flags that ask for what apply always does. Asking for the
// opposite is refused.
func (f *Flags) satisfied() []Option {
	return []Option{
		only("reconcile", "rules that differ are always replaced", "true", "false"),
		only("force-apply", "rules that differ are always replaced", "true", "false"),
		only("dual-stack", "both families are always steered; see --ipv4 and --ipv6", "true"),
		{Long: "native-nftables", Usage: "the same as --backend nftables, and when false as --backend iptables", Set: f.setNative},
		{Long: "force-iptables-binary", Value: "name", Usage: "nft or legacy: the same as --backend iptables-nft or iptables-legacy", Set: f.setBinary},
	}
}

// Variables returns what istio-iptables reads from its environment alone: options
// without a name.
func Variables() []Option {
	return []Option{
		{Env: "INBOUND_INTERCEPTION_MODE", Set: inboundMode},
		{Env: "INBOUND_TPROXY_MARK", Set: refuse("", "", "", "TPROXY is not supported yet", "1337").Set},
		{Env: "ISTIO_DUAL_STACK", Set: only("", "both families are always steered; see --ipv4 and --ipv6", "true").Set},
		{Env: "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", Set: loopbackCIDR},
	}
}

func (f *Flags) setNative(s string) error {
	var native bool
	if err := Switch(&native)(s); err != nil {
		return err
	}
	f.Backend = "iptables"
	if native {
		f.Backend = "nftables"
	}
	return nil
}

func (f *Flags) setBinary(s string) error {
	switch s {
	case "":
	case "nft", "legacy":
		f.Backend = "iptables-" + s
	default:
		return errors.New("not possible (allowed: nft, legacy)")
	}
	return nil
}

// loopbackCIDR takes what istio-iptables takes by default and all of loopback;
// what lies between would be a promise that isn't kept.
func loopbackCIDR(s string) error {
	if slices.Contains([]string{"127.0.0.1/32", "127.0.0.1/8", "127.0.0.0/8"}, s) {
		return nil
	}
	return errors.New("not possible: all of 127.0.0.0/8 is loopback (allowed: 127.0.0.1/32, 127.0.0.0/8)")
}

// refused are flags for what we can't do yet, or never will. Their default, which
// asks for nothing, is accepted: nothing is ignored.
func refused() []Option {
	const (
		tproxy = "TPROXY is not supported yet"
		dns    = "DNS capture is not supported yet: it needs a DNS proxy"
		probe  = "there is no self-test; use `redirect check`"
	)
	withEnv := func(env string, o Option) Option { o.Env = env; return o }
	return []Option{
		withEnv("KUBE_VIRT_INTERFACES", refuse("kube-virt-interfaces", "k", "interfaces", "virtual machines' interfaces are not supported yet", "")),
		withEnv("ISTIO_INBOUND_TPROXY_MARK", refuse("istio-inbound-tproxy-mark", "t", "mark", tproxy, "", "1337")),
		withEnv("ISTIO_INBOUND_TPROXY_ROUTE_TABLE", refuse("istio-inbound-tproxy-route-table", "r", "table", tproxy, "", "133")),
		withEnv("ISTIO_META_DNS_CAPTURE", refuse("redirect-dns", "", "", dns, "false")),
		withEnv("CAPTURE_ALL_DNS", refuse("capture-all-dns", "", "", dns, "false")),
		refuse("run-validation", "", "", probe, "false"),
		refuse("skip-rule-apply", "", "", probe, "false"),
		refuse("iptables-probe-port", "", "port", probe, "15002"),
		refuse("probe-timeout", "", "time", probe, "5s"),
		refuse("cleanup-only", "", "", "use `redirect remove`", "false"),
		refuse("cni-mode", "", "", "use --netns; no lock of the host is needed", "false"),
	}
}

// only is a switch of which some values ask for what is done anyway.
func only(long, reason string, accepted ...string) Option {
	o := refuse(long, "", "", reason, accepted...)
	o.Usage = "accepted: " + reason
	return o
}

func refuse(long, short, value, reason string, accepted ...string) Option {
	set := func(s string) error {
		if slices.Contains(accepted, s) {
			return nil
		}
		return errors.New(reason)
	}
	return Option{long, short, value, "refused: " + reason, set, ""}
}
