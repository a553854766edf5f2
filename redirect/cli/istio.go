// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"slices"
)

// satisfied are flags of istio-iptables that ask for what apply always does.
// Asking for the opposite is refused.
func satisfied() []option {
	return []option{
		only("reconcile", "rules that differ are always replaced", "true", "false"),
		only("force-apply", "rules that differ are always replaced", "true", "false"),
		only("native-nftables", "nftables is the backend", "true"),
		only("dual-stack", "both families are always steered; see --ipv6", "true"),
	}
}

// refused are flags of istio-iptables for what we can't do yet, or never will.
// Their default, which asks for nothing, is accepted: nothing is ignored.
func refused() []option {
	const (
		tproxy = "TPROXY is not supported yet"
		dns    = "DNS capture is not supported yet: it needs a DNS proxy"
		probe  = "there is no self-test; use `redirect check`"
		netfil = "nf_tables is spoken over netlink, there is no iptables binary"
	)
	return []option{
		refuse("istio-exclude-interfaces", "c", "interfaces", "excluding interfaces is not supported yet", ""),
		refuse("kube-virt-interfaces", "k", "interfaces", "virtual machines' interfaces are not supported yet", ""),
		refuse("istio-inbound-tproxy-mark", "t", "mark", tproxy, "", "1337"),
		refuse("istio-inbound-tproxy-route-table", "r", "table", tproxy, "", "133"),
		refuse("redirect-dns", "", "", dns, "false"),
		refuse("capture-all-dns", "", "", dns, "false"),
		refuse("drop-invalid", "", "", "dropping what conntrack calls invalid is not supported yet", "false"),
		refuse("run-validation", "", "", probe, "false"),
		refuse("skip-rule-apply", "", "", probe, "false"),
		refuse("iptables-probe-port", "", "port", probe, "15002"),
		refuse("probe-timeout", "", "time", probe, "5s"),
		refuse("cleanup-only", "", "", "use `redirect remove`", "false"),
		refuse("cni-mode", "", "", "use --netns; netlink needs no lock of the host", "false"),
		refuse("force-iptables-binary", "", "name", netfil, ""),
	}
}

// only is a switch of which some values ask for what is done anyway.
func only(long, reason string, accepted ...string) option {
	o := refuse(long, "", "", reason, accepted...)
	o.usage = "accepted: " + reason
	return o
}

func refuse(long, short, value, reason string, accepted ...string) option {
	return option{long, short, value, "refused: " + reason, func(s string) error {
		if slices.Contains(accepted, s) {
			return nil
		}
		return errors.New(reason)
	}}
}
