// SPDX-License-Identifier: Apache-2.0

package testnet

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// Addresses of services whose only endpoint is the pod.
const (
	ServiceV4 = "10.96.0.10"
	ServiceV6 = "fd96::10"
	// Another one, in another network.
	OtherServiceV4 = "10.97.0.10"
	OtherServiceV6 = "fd97::10"
)

// ServePod makes the node do for these addresses what kube-proxy does: every
// port leads to the pod's, and what the pod sends to itself by that way seems
// to come from the node.
func ServePod(t testing.TB, node *Namespace) {
	t.Helper()
	for _, name := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		node.Sysctl(t, name, "1")
	}
	// The way back is the way that the packets came; that is no mistake here.
	node.Sysctl(t, "ipv4/conf/all/send_redirects", "0")
	node.Sysctl(t, "ipv4/conf/eth0/send_redirects", "0")
	rules := fmt.Sprintf(`
		table ip services {
			chain in { type nat hook prerouting priority dstnat; ip daddr { %[1]s, %[2]s } dnat to %[3]s; }
			chain out { type nat hook postrouting priority srcnat; ip saddr %[3]s ip daddr %[3]s masquerade; }
		}
		table ip6 services {
			chain in { type nat hook prerouting priority dstnat; ip6 daddr { %[4]s, %[5]s } dnat to %[6]s; }
			chain out { type nat hook postrouting priority srcnat; ip6 saddr %[6]s ip6 daddr %[6]s masquerade; }
		}`, ServiceV4, OtherServiceV4, PodV4, ServiceV6, OtherServiceV6, PodV6)
	node.Do(t, func() error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(rules)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("make services: %w: %s", err, out)
		}
		return nil
	})
}
