// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// istio is a flag of istio-iptables, which reads an environment variable of
// the same name where the flag isn't given.
func istio(long, short, value, usage string, set func(string) error) option {
	env := strings.ToUpper(strings.ReplaceAll(long, "-", "_"))
	return option{long, short, value, usage, set, env}
}

// readEnv sets what the environment names. An empty variable says nothing.
func readEnv(options []option, lookup func(string) (string, bool)) error {
	if lookup == nil {
		return nil
	}
	for _, o := range options {
		if o.env == "" {
			continue
		}
		value, _ := lookup(o.env)
		if value == "" {
			continue
		}
		if err := o.set(value); err != nil {
			return fmt.Errorf("environment variable %s: value %q: %w", o.env, value, err)
		}
	}
	return nil
}

// satisfied are flags of istio-iptables that ask for what apply always does.
// Asking for the opposite is refused.
func (c *command) satisfied() []option {
	return []option{
		only("reconcile", "rules that differ are always replaced", "true", "false"),
		only("force-apply", "rules that differ are always replaced", "true", "false"),
		only("dual-stack", "both families are always steered; see --ipv4 and --ipv6", "true"),
		{long: "native-nftables", usage: "the same as --backend nftables, and when false as --backend iptables", set: c.setNative},
		{long: "force-iptables-binary", value: "name", usage: "nft or legacy: the same as --backend iptables-nft or iptables-legacy", set: c.setBinary},
	}
}

// variables of istio-iptables that have no flag, or another name than it.
func (c *command) variables() []option {
	return []option{
		{env: "INBOUND_INTERCEPTION_MODE", set: inboundMode},
		{env: "INBOUND_TPROXY_MARK", set: refuse("", "", "", "TPROXY is not supported yet", "1337").set},
		{env: "ISTIO_DUAL_STACK", set: only("", "both families are always steered; see --ipv4 and --ipv6", "true").set},
		{env: "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", set: loopbackCIDR},
		{env: "ENVOY_USER", set: text(&c.proxyUser)},
	}
}

func (c *command) setNative(s string) error {
	var native bool
	if err := boolean(&native)(s); err != nil {
		return err
	}
	c.backend = "iptables"
	if native {
		c.backend = "nftables"
	}
	return nil
}

func (c *command) setBinary(s string) error {
	switch s {
	case "":
	case "nft", "legacy":
		c.backend = "iptables-" + s
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

// refused are flags of istio-iptables for what we can't do yet, or never will.
// Their default, which asks for nothing, is accepted: nothing is ignored.
func refused() []option {
	const (
		tproxy = "TPROXY is not supported yet"
		dns    = "DNS capture is not supported yet: it needs a DNS proxy"
		probe  = "there is no self-test; use `redirect check`"
	)
	withEnv := func(env string, o option) option { o.env = env; return o }
	return []option{
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
func only(long, reason string, accepted ...string) option {
	o := refuse(long, "", "", reason, accepted...)
	o.usage = "accepted: " + reason
	return o
}

func refuse(long, short, value, reason string, accepted ...string) option {
	set := func(s string) error {
		if slices.Contains(accepted, s) {
			return nil
		}
		return errors.New(reason)
	}
	return option{long, short, value, "refused: " + reason, set, ""}
}
