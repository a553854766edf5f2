// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestValidateCommandLines(t *testing.T) {
	c, err := parse(verbValidate, strings.Fields("-i * -o 5432 --backend iptables --timeout 30s -- proxy run --log-level debug"), Env{})
	if err == nil || !strings.Contains(err.Error(), "--backend") { // there is none at all here
		t.Errorf("no backend: %v", err)
	}
	if c.wait != 30*time.Second || !c.Config.IncludeOutboundCIDRs.All || !slices.Equal(c.program, []string{"proxy", "run", "--log-level", "debug"}) {
		t.Errorf("read as %+v", c)
	}
	for line, words := range map[string]string{
		"--":                 "nothing behind --",
		"-i * --":            "nothing behind --",
		"--timeout -1s":      "allowed: 0s or more",
		"--timeout soon":     "allowed: 0s or more",
		"proxy run":          `unexpected argument "proxy"`,
		"-i 10.0.0.0/33":     "10.0.0.0/33",
		"--netns /proc/1 -n": "netns",
	} {
		if _, err := parse(verbValidate, strings.Fields(line), Env{}); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v, want an error with %q", line, err, words)
		}
	}
}
