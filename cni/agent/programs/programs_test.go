// SPDX-License-Identifier: Apache-2.0

package programs

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect/ebpf"
)

// fakeNode is a node's programs, without a kernel. What is done to it is one
// character each: load, test, collect, unload.
type fakeNode struct {
	done   string
	loaded bool
	broken error // of the self-test
	mends  bool  // loading again mends it
	status error
	pods   int
	others []ebpf.Other
}

func (f *fakeNode) Load(context.Context) (bool, error) {
	f.done += "l"
	changed := !f.loaded
	f.loaded = true
	if f.mends {
		f.broken = nil
	}
	return changed, nil
}
func (f *fakeNode) Others() ([]ebpf.Other, error)        { return f.others, nil }
func (f *fakeNode) SelfTest(context.Context) error       { f.done += "t"; return f.broken }
func (f *fakeNode) Collect(context.Context) (int, error) { f.done += "c"; return 0, nil }
func (f *fakeNode) Unload(context.Context) error         { f.done += "u"; f.loaded = false; return nil }

func (f *fakeNode) Status() (ebpf.Status, error) {
	if f.status != nil {
		return ebpf.Status{}, f.status
	}
	if !f.loaded {
		return ebpf.Status{}, fs.ErrNotExist
	}
	return ebpf.Status{Layout: "v1", Pods: f.pods, Programs: []ebpf.ProgramStatus{{Name: "connect4", Attached: true}}}, nil
}

// over returns the Programs of a node, and the last that they told of.
func over(f *fakeNode) (*Programs, *contract.NodePrograms) {
	told := &contract.NodePrograms{}
	p := New(Options{BPFFS: "/bpf", Log: slog.New(slog.DiscardHandler), Told: func(now *contract.NodePrograms) {
		*told = contract.NodePrograms{}
		if now != nil {
			*told = *now
		}
	}})
	p.find = func() (string, error) { return "/cgroup", nil }
	p.open = func(string) node { return f }
	return p, told
}

var errBroken = errors.New("test node: outbound: connection refused")

func TestStart(t *testing.T) {
	cilium := []ebpf.Other{{Hook: "connect4", Program: "cil_sock4_connect"}}
	for name, tt := range map[string]struct {
		node fakeNode
		root error
		want string // in the error
		done string
	}{
		"works":                     {node: fakeNode{}, done: "ltc"},
		"works beside others":       {node: fakeNode{others: cilium}, done: "ltc"},
		"fails":                     {node: fakeNode{broken: errBroken}, want: "outbound", done: "ltc"},
		"fails beside others":       {node: fakeNode{broken: errBroken, others: cilium}, want: "others are at the same hooks: cil_sock4_connect", done: "ltc"},
		"the group can't be found":  {node: fakeNode{}, root: errors.New("in no pod"), want: "in no pod"},
		"the root was handed over":  {node: fakeNode{}, done: "ltc"},
		"loaded, and to be unified": {node: fakeNode{loaded: true}, done: "ltc"},
	} {
		p, told := over(&tt.node)
		p.find = func() (string, error) { return "/cgroup", tt.root }
		err := p.Start(t.Context())
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) || tt.node.done != tt.done {
			t.Errorf("%s: %v, done %q; want %q, %q", name, err, tt.node.done, tt.want, tt.done)
		}
		if tt.root == nil && (told.Layout != "v1" || told.ControlGroup != "/cgroup" || len(told.Others) != len(tt.node.others)) {
			t.Errorf("%s: told %+v", name, told)
		}
	}
}

// TestRun looks each minute, and hands the choice back where it has to be made anew.
func TestRun(t *testing.T) {
	for name, tt := range map[string]struct {
		mode Mode
		node fakeNode
		want string // done
		took time.Duration
		err  error
	}{
		"works":                           {Used, fakeNode{loaded: true}, strings.Repeat("ct", 9), 10 * time.Minute, nil},
		"fails, and is mended by loading": {Used, fakeNode{loaded: true, broken: errBroken, mends: true}, "ctlt" + strings.Repeat("ct", 8), 10 * time.Minute, nil},
		"fails":                           {Used, fakeNode{loaded: true, broken: errBroken}, "ctlt" + "ct", 2 * time.Minute, ErrChoose},
		"was unpinned":                    {Used, fakeNode{}, "lt" + strings.Repeat("ct", 8), 10 * time.Minute, nil},
		"can't be read":                   {Used, fakeNode{status: errors.New("no rights")}, "", 10 * time.Minute, nil},
		"works again":                     {Standby, fakeNode{loaded: true}, "ctctctctct", 4 * time.Minute, ErrChoose},
		"still fails":                     {Standby, fakeNode{loaded: true, broken: errBroken}, "ctlt" + strings.Repeat("ct", 9), 10 * time.Minute, nil},
		"can't be loaded":                 {Standby, fakeNode{}, "", 10 * time.Minute, nil},
		"has pods from before":            {Unwanted, fakeNode{loaded: true, pods: 1}, strings.Repeat("ct", 10), 10 * time.Minute, nil},
		"has none":                        {Unwanted, fakeNode{loaded: true}, "ctu" + strings.Repeat("u", 9), 10 * time.Minute, nil},
		"has pods, and can't be read":     {Unwanted, fakeNode{loaded: true, pods: 1, status: errors.New("no rights")}, "", 10 * time.Minute, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, _ := over(&tt.node)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute-time.Second)
			defer cancel()
			begin := time.Now()
			err := p.Run(ctx, tt.mode)
			if took := time.Since(begin).Round(time.Minute); !errors.Is(err, tt.err) || took != tt.took || tt.node.done != tt.want {
				t.Errorf("%s: %v after %v, done %q; want %v after %v, %q", name, err, took, tt.node.done, tt.err, tt.took, tt.want)
			}
		})
	}
}

func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNode{}
		p, _ := over(f)
		if err := p.Start(t.Context()); err != nil || p.Ready() != nil {
			t.Fatalf("%v, ready %v", err, p.Ready())
		}
		f.broken = errBroken
		run := func(m Mode) {
			ctx, cancel := context.WithTimeout(t.Context(), period+time.Second)
			defer cancel()
			_ = p.Run(ctx, m)
		}
		run(Used)
		if err := p.Ready(); err == nil || !strings.Contains(err.Error(), "outbound: connection refused") {
			t.Errorf("used, and broken: ready %v", err)
		}
		run(Standby)
		if err := p.Ready(); err != nil {
			t.Errorf("broken, and no pod is captured: ready %v", err)
		}
		f.pods = 2
		run(Standby)
		if err := p.Ready(); err == nil || !strings.Contains(err.Error(), "2 pods are captured") {
			t.Errorf("broken, and pods are captured: ready %v", err)
		}
	})
}

func TestRelease(t *testing.T) {
	for name, tt := range map[string]struct {
		node fakeNode
		all  bool
		pods int
		gone bool
	}{
		"nothing there":   {fakeNode{}, false, 0, true},
		"no pods":         {fakeNode{loaded: true}, false, 0, true},
		"pods":            {fakeNode{loaded: true, pods: 3}, false, 3, false},
		"pods, and rules": {fakeNode{loaded: true, pods: 3}, true, 0, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, _ := over(&tt.node)
			pods, err := p.Release(t.Context(), tt.all)
			if err != nil || pods != tt.pods || tt.node.loaded == tt.gone {
				t.Errorf("%s: %d pods, %v, loaded %v", name, pods, err, tt.node.loaded)
			}
		})
	}
}

// TestWithoutBPFFS is a node that must not have eBPF.
func TestWithoutBPFFS(t *testing.T) {
	f := &fakeNode{loaded: true}
	p, _ := over(f)
	p.options.BPFFS = ""
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.Release(t.Context(), true)
	if errors.Join(err, p.Run(ctx, Unwanted)) != nil || f.done != "" {
		t.Errorf("%v, done %q, want nothing", err, f.done)
	}
}
