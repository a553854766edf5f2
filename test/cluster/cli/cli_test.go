// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/test/cluster/cli"
)

// TestCommandLine holds what is printed where, and with which exit code.
func TestCommandLine(t *testing.T) {
	state := t.TempDir()
	for name, c := range map[string]struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		"help":               {[]string{"-h"}, 0, "load-image TAR...", ""},
		"long help":          {[]string{"--help"}, 0, "Verbs:", ""},
		"help of a verb":     {[]string{"up", "--help"}, 0, "-nodes", ""},
		"nothing":            {nil, 2, "", "no verb"},
		"unknown verb":       {[]string{"fly"}, 2, "", `verb "fly"`},
		"unknown flag":       {[]string{"up", "-fly"}, 2, "", "-fly"},
		"bad number":         {[]string{"up", "-nodes", "two"}, 2, "", `"two"`},
		"too many":           {[]string{"down", "now"}, 2, "", "takes 0, not 1"},
		"no image":           {[]string{"load-image"}, 2, "", "at least one"},
		"no node":            {[]string{"reboot"}, 2, "", "takes 1"},
		"no daemon":          {[]string{"stop", "n1"}, 2, "", "takes 2"},
		"bad format":         {[]string{"-state", state, "status", "-o", "xml"}, 2, "", `"xml"`},
		"not up":             {[]string{"-state", state, "status"}, 1, "", "run `cluster up`"},
		"relative state":     {[]string{"-state", "here", "kubeconfig"}, 1, "", "absolute"},
		"state before":       {[]string{"-state", "/s", "kubeconfig"}, 0, "/s/admin.kubeconfig\n", ""},
		"state after":        {[]string{"kubeconfig", "-state", "/s"}, 0, "/s/admin.kubeconfig\n", ""},
		"state without word": {[]string{"kubeconfig"}, 0, "/var/lib/shunt-cluster/admin.kubeconfig\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := cli.Main(t.Context(), c.args, &stdout, &stderr); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
				t.Errorf("printed %q and %q, want %q and %q", stdout.String(), stderr.String(), c.stdout, c.stderr)
			}
		})
	}
}
