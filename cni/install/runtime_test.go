// SPDX-License-Identifier: Apache-2.0

package install

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/fsnotify/fsnotify"

	"github.com/shuntmesh/shunt/internal/contract"
)

// runtime watches a folder as containerd 2.2 does: it loads the first configuration
// after each event but those of kind create and chmod.
type runtime struct {
	plugins atomic.Pointer[[]string]
	failed  atomic.Int32
}

func newRuntime(t *testing.T, dir string) *runtime {
	t.Helper()
	w, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(dir); err != nil {
		t.Fatal(err)
	}
	r := &runtime{}
	r.load(dir)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range w.Events {
			if !event.Has(fsnotify.Create) && !event.Has(fsnotify.Chmod) {
				r.load(dir)
			}
		}
	}()
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return r
}

// load does what libcni does for a runtime.
func (r *runtime) load(dir string) {
	types, err := loadFirst(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Renamed since the folder was listed: the event of that comes next.
	case err != nil:
		r.failed.Add(1)
	default:
		r.plugins.Store(&types)
	}
}

func loadFirst(dir string) (types []string, err error) {
	files, err := libcni.ConfFiles(dir, []string{".conf", ".conflist", ".json"})
	if err != nil || len(files) == 0 {
		return nil, errors.Join(errors.New("no configuration"), err)
	}
	if filepath.Ext(files[0]) == ".conflist" {
		l, err := libcni.NetworkConfFromFile(files[0])
		if err != nil {
			return nil, err
		}
		for _, p := range l.Plugins {
			types = append(types, p.Network.Type)
		}
		return types, nil
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		return nil, err
	}
	p, err := libcni.NetworkPluginConfFromBytes(content)
	if err != nil {
		return nil, err
	}
	return []string{p.Network.Type}, nil
}

func (r *runtime) has(plugin string) func() bool {
	return func() bool {
		types := *r.plugins.Load()
		return types[len(types)-1] == plugin
	}
}

// TestRuntime: what is written reaches a runtime that watches, and it never fails
// to load something.
func TestRuntime(t *testing.T) {
	t.Parallel()
	for name, single := range map[string]bool{"list": false, "single": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			if single {
				write(t, filepath.Join(n.conf, "10-a.conf"), `{"name": "a", "cniVersion": "1.0.0", "type": "portmap"}`)
				if err := os.Remove(n.list()); err != nil {
					t.Fatal(err)
				}
			}
			r := newRuntime(t, n.conf)
			i, stop := start(t, n.options())
			within(t, soon, "ready", ready(i))
			within(t, soon, "the runtime has the plugin", r.has(contract.PluginBinary))
			if !single {
				time.Sleep(sustained)
				rewrite(t, n.list(), list)
				within(t, soon, "the runtime has the plugin again", func() bool { return chained(n.list(), n.options().Entry) && r.has(contract.PluginBinary)() })
			}
			stop()
			if err := i.Uninstall(t.Context()); err != nil {
				t.Fatal(err)
			}
			within(t, soon, "the runtime is without the plugin", r.has("portmap"))
			if failed := r.failed.Load(); failed > 0 {
				t.Errorf("the runtime failed to load %d times", failed)
			}
		})
	}
}
