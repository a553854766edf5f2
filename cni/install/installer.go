// SPDX-License-Identifier: Apache-2.0

package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/shuntmesh/shunt/cni/conf"
	"github.com/shuntmesh/shunt/cni/install/conflist"
	"github.com/shuntmesh/shunt/internal/contract"
)

// ErrNoConfig is a node without a CNI configuration: none is installed yet.
var ErrNoConfig = conflist.ErrNoConfig

// errNotLooked is what there is to say before Run has looked for the first time.
var errNotLooked = errors.New("nothing was installed yet")

// errUninstalled is what there is to say after Uninstall.
var errUninstalled = errors.New("the plugin was uninstalled")

// Options say what to install and where. Paths are those that the agent sees.
type Options struct {
	BinarySource string // the plugin in the agent's image
	BinDir       string // the runtime's folder of plugins
	ConfDir      string // the runtime's folder of configurations; it may be missing for now
	// Network is the name of the one network to chain into, where the runtime is told
	// one (CRI-O's cni_default_network). Empty is the file that it chooses itself.
	Network string
	// CacheDir is libcni's cache on nodes whose runtime deletes a pod by the list of
	// plugins that it was added with (CRI-O; /var/lib/cni there). Uninstall keeps the
	// binary while a pod needs it. Empty is a runtime that deletes by the present list.
	CacheDir string
	Entry    conf.Entry
	Log      *slog.Logger
	// Count is told of each event, for a counter; Changed of each new answer of Ready.
	// Both may be nil. They are called by Run and Uninstall, and may not block.
	Count   func(Event)
	Changed func(error)
}

// Event is something to count: the value of a metric's label.
type Event string

// Events.
const (
	EventBinary     Event = "binary_written" // the plugin was missing or another one
	EventChained    Event = "chained"        // the entry was put into a configuration that is new to us
	EventRepaired   Event = "repaired"       // the entry was put back, since somebody had changed it or taken it out
	EventUnchained  Event = "unchained"      // the entry was taken out of a configuration that isn't used any more
	EventContested  Event = "contested"      // a write had to wait, since there were too many
	EventSuperseded Event = "superseded"     // another agent of this node came later
	EventFailed     Event = "failed"         // something can't be done; counted once for each reason in a row
)

// Events returns all events, so that their counters can begin at nothing.
func Events() []Event {
	return []Event{EventBinary, EventChained, EventRepaired, EventUnchained, EventContested, EventSuperseded, EventFailed}
}

// Installer keeps the plugin in place on one node.
type Installer struct {
	o  Options
	mu sync.Mutex
	// Of mu:
	problem error // the answer of Ready
}

// New returns an installer that does nothing until Run.
func New(o Options) *Installer {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Count == nil {
		o.Count = func(Event) {}
	}
	if o.Changed == nil {
		o.Changed = func(error) {}
	}
	return &Installer{o: o, problem: errNotLooked}
}

// Ready returns nil while the plugin is in place, and chained into the
// configuration that the runtime uses. Else it says why not; ErrNoConfig is a node
// without a CNI so far.
func (i *Installer) Ready() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.problem
}

// Run keeps the plugin in place until ctx ends, and then leaves everything as it
// is and returns nil. What can't be done for now is Ready's answer, and tried again
// each second. An error is one that a restart of the container mends, or wrong
// options.
func (i *Installer) Run(ctx context.Context) (err error) {
	k, err := newKeeper(i.o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	for {
		k.watch.follow(time.Now())
		again, problem := k.look(time.Now())
		if !errors.Is(problem, errMoment) {
			i.set(problem)
		}
		if errors.Is(problem, errReplaced) {
			return problem
		}
		if !k.watch.wait(ctx.Done(), again) {
			return nil
		}
	}
}

// set makes a problem the answer of Ready, and tells of it if it is news.
func (i *Installer) set(problem error) {
	i.mu.Lock()
	was := i.problem
	i.problem = problem
	i.mu.Unlock()
	if text(problem) == text(was) {
		return
	}
	switch {
	case problem == nil:
		i.o.Log.Info("the plugin is in place")
	case errors.Is(problem, errUninstalled):
		i.o.Log.Info("uninstalled the plugin", "path", i.o.BinDir)
	case errors.Is(problem, ErrNoConfig):
		i.o.Log.Info("wait for a CNI configuration", "err", problem)
	default:
		i.o.Count(EventFailed)
		i.o.Log.Error("the plugin can't be put in place", "err", problem)
	}
	i.o.Changed(problem)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// validate finds what is impossible, and returns the entry as it stands in lists.
func (o Options) validate() ([]byte, error) {
	for name, value := range map[string]string{"BinarySource": o.BinarySource, "BinDir": o.BinDir, "ConfDir": o.ConfDir} {
		if value == "" {
			return nil, fmt.Errorf("install the plugin: %s is empty", name)
		}
	}
	if err := o.Entry.Validate(); err != nil {
		return nil, fmt.Errorf("install the plugin: entry: %w", err)
	}
	if o.Entry.Type != contract.PluginBinary {
		return nil, fmt.Errorf("install the plugin: entry: type: value %q is not possible (allowed: %s)", o.Entry.Type, contract.PluginBinary)
	}
	entry, err := json.Marshal(o.Entry)
	if err != nil {
		return nil, fmt.Errorf("install the plugin: write the entry: %w", err)
	}
	return entry, nil
}

func (o Options) lockPath() string { return filepath.Join(o.BinDir, lockName) }
