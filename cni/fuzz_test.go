// SPDX-License-Identifier: Apache-2.0

package cni_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/shuntmesh/shunt/cni"
	"github.com/shuntmesh/shunt/cni/conf"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/backends"
)

// counter is a backend that counts what it applies.
type counter struct{ applied int }

func (c *counter) Apply(context.Context, redirect.Plan) (bool, error) { c.applied++; return true, nil }
func (c *counter) Check(context.Context, redirect.Plan) error         { return nil }
func (c *counter) Remove(context.Context) error                       { return nil }
func (c *counter) Holds(context.Context) (bool, error)                { return false, nil }

// FuzzStdin feeds configurations and a status annotation. Nothing panics, a pod
// that the node is to capture never passes without being captured, and what
// passes takes the previous result along as it was.
func FuzzStdin(f *testing.F) {
	examples, err := filepath.Glob("testdata/*/*.json")
	if err != nil || len(examples) == 0 {
		f.Fatalf("%d examples, %v", len(examples), err)
	}
	for _, path := range examples {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data), "")
	}
	plain := stdinOf(f, "not-injected")
	f.Add(plain, `{"interception":"cni","redirect":["-b","*"]}`)
	f.Add(plain, `{"interception":"cni","redirect":["-p","1","-i","+10.0.0.0/8","--backend","iptables"]}`)
	f.Add(plain, `{"interception":"CNI","Interception":"none"}`)
	netns := f.TempDir()
	f.Fuzz(func(t *testing.T, stdin, status string) {
		stdin, status = prepare(stdin, status)
		var out bytes.Buffer
		b := &counter{}
		other := &counter{}
		p := cni.Plugin{
			Backends: func(string) []backends.Backend {
				return []backends.Backend{{Backend: b, Name: "nftables"}, {Backend: other, Name: "iptables"}}
			},
			Enter:  func(_ string, f func() error) error { return f() },
			Stdout: &out,
		}
		args := &skel.CmdArgs{ContainerID: "c1", Netns: netns, IfName: "eth0", StdinData: []byte(stdin)}
		_, _, _ = p.Check(args), p.Status(args), p.GC(args)
		if err := p.Del(args); err != nil {
			t.Errorf("DEL: %v", err)
		}
		if err := p.Add(args); err != nil {
			if out.Len() > 0 || err.Error() == "" {
				t.Errorf("ADD: %v, and result %q", err, &out)
			}
			return
		}
		var in struct{ PrevResult json.RawMessage }
		if err := json.Unmarshal([]byte(stdin), &in); err != nil || string(in.PrevResult) != out.String() {
			t.Errorf("ADD: result %q, want %q (%v)", &out, in.PrevResult, err)
		}
		if capture, err := contract.ParseCapture(status); (err != nil || capture.Interception == contract.InterceptionCNI) && b.applied+other.applied == 0 {
			t.Errorf("a pod with status %q passed, and nobody captured it", status)
		}
	})
}

// prepare writes a status annotation into a configuration, unless it is "", and
// returns the one that stands there. It takes away the names of files, so that
// none is made.
func prepare(stdin, status string) (changed, found string) {
	var c map[string]json.RawMessage
	if json.Unmarshal([]byte(stdin), &c) != nil {
		return stdin, ""
	}
	for key := range c {
		if strings.EqualFold(key, "socket") || strings.EqualFold(key, "log") {
			delete(c, key)
		}
	}
	runtime := make(map[string]map[string]string)
	if json.Unmarshal(c["runtimeConfig"], &runtime) == nil {
		if status != "" && runtime[conf.PodAnnotations] != nil {
			runtime[conf.PodAnnotations][contract.AnnotationStatus] = status
			c["runtimeConfig"], _ = json.Marshal(runtime)
			_ = json.Unmarshal(c["runtimeConfig"], &runtime) // bytes that are no UTF-8 have become others
		}
		found = runtime[conf.PodAnnotations][contract.AnnotationStatus]
	}
	data, err := json.Marshal(c)
	if err != nil {
		return stdin, found
	}
	return string(data), found
}
