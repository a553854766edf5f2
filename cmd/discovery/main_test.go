// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/shuntmesh/shunt/internal/version"
)

func TestRun(t *testing.T) {
	tests := []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{args: []string{"-h"}, code: 0, stderr: "max-streams"},
		{args: []string{"-version"}, code: 0, stdout: version.Version},
		{args: []string{"-no-such-flag"}, code: 2, stderr: "no-such-flag"},
		{args: []string{"extra"}, code: 2, stderr: `unexpected argument "extra"`},
		{args: []string{"-log-level", "loud"}, code: 2, stderr: "allowed: debug, info, warn, error"},
		{args: []string{"-kubeconfig", "/nonexistent"}, code: 1, stderr: "find API server"},
	}
	for _, tt := range tests {
		var stdout, stderr bytes.Buffer
		code := run(tt.args, &stdout, &stderr)
		if code != tt.code || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("%q: code %d, stdout %q, stderr %q; want %+v", tt.args, code, &stdout, &stderr, tt)
		}
	}
}
