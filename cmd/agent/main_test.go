// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	env := func(name string) string { return map[string]string{"NODE_NAME": "here"}[name] }
	o, err := parse(nil, env, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.node != "here" || o.namespace != "shunt-system" || o.listen != ":15016" || o.socket != "/run/shunt/agent.sock" ||
		o.proc != "/host/proc" || o.backend != "auto" || o.binDir != "/host/opt/cni/bin" || o.confDir != "/host/etc/cni/net.d" ||
		o.pluginLog != "/var/log/shunt-cni.log" || filepath.Base(o.plugin) != "cni" || !filepath.IsAbs(o.plugin) {
		t.Errorf("defaults %+v", o)
	}
	o, err = parse([]string{"--node=there", "--plugin=/p", "--backend=iptables"}, env, io.Discard)
	if err != nil || o.node != "there" || o.plugin != "/p" || o.backend != "iptables" {
		t.Errorf("%+v, %v", o, err)
	}
	for args, want := range map[string]string{"x": "one too many", "--log-level=loud": "loud", "--nope": "not defined"} {
		if _, err := parse([]string{args}, env, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}
