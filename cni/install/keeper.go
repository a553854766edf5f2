// SPDX-License-Identifier: Apache-2.0

package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/shuntmesh/shunt/cni/install/conflist"
)

// settled is how long another target has to be the runtime's choice.
const settled = 200 * time.Millisecond

// errReplaced is a folder that was removed on the node while it was mounted here:
// nothing can be written into it any more.
var errReplaced = errors.New("it was removed on the node (the agent has to start again, so that the new one is mounted)")

// errMoment is a state that lasts for a moment, and is no news for Ready.
var errMoment = errors.New("look again in a moment")

// keeper is the state of one Run. It belongs to Run's goroutine.
type keeper struct {
	o      Options
	entry  []byte
	binary binary
	watch  *watch
	pace   *pace
	claim  *claim // nil until there is one

	passive   bool      // another agent came later
	target    string    // what was last found or made to be chained
	candidate string    // what would be the target next
	since     time.Time // of candidate
	skipped   string    // what was last said of files that can't be loaded
}

func newKeeper(o Options) (*keeper, error) {
	entry, err := o.validate()
	if err != nil {
		return nil, err
	}
	return &keeper{
		o: o, entry: entry,
		binary: binary{source: o.BinarySource, dir: o.BinDir},
		watch:  newWatch(o.Log, o.ConfDir, o.BinDir),
		pace:   newPace(o),
	}, nil
}

func (k *keeper) close() error {
	err := k.watch.close()
	if k.claim != nil {
		err = errors.Join(err, k.claim.release())
	}
	return err
}

// look compares what is with what should be, and does what is missing. It returns
// when to look again, if that is soon, and what is not as it should be.
func (k *keeper) look(now time.Time) (again time.Duration, problem error) {
	for _, dir := range []string{k.o.BinDir, k.o.ConfDir} {
		if replaced(dir) {
			return 0, fmt.Errorf("use %s: %w", dir, errReplaced)
		}
	}
	superseded, err := k.superseded()
	if err != nil {
		return 0, err
	}
	files, err := readFolder(k.o.ConfDir, conflist.Relevant)
	if err != nil {
		return 0, err
	}
	plan, planErr := conflist.Install(files, k.entry, k.o.Network)
	k.tellSkipped(plan.Skipped)
	if planErr != nil {
		planErr = fmt.Errorf("chain the plugin in: %s: %w", k.o.ConfDir, planErr)
	}
	if superseded {
		return 0, errors.Join(planErr, k.inspect(plan))
	}
	if again, err = k.keepBinary(now); err != nil {
		return again, err
	}
	if again, err = k.keepEntry(now, plan); err != nil {
		return again, err
	}
	if planErr == nil && k.pace.contested(now) {
		return 0, errContested
	}
	return 0, planErr
}

// superseded finds out whether this agent is to watch only, and takes its place
// among the agents of the node if it has none.
func (k *keeper) superseded() (bool, error) {
	if k.claim != nil && k.claim.stale() {
		err := k.claim.release()
		k.claim = nil
		if err != nil {
			return false, fmt.Errorf("close the agents' lock: %w", err)
		}
	}
	if k.claim == nil {
		c, err := takeClaim(k.o.lockPath())
		if err != nil {
			return false, err
		}
		k.claim = c
		if err := errors.Join(sweep(k.o.BinDir), sweep(k.o.ConfDir)); err != nil {
			return false, err
		}
	}
	passive, err := k.claim.superseded()
	if err != nil {
		return false, err
	}
	if passive != k.passive {
		k.passive = passive
		if passive {
			k.o.Count(EventSuperseded)
			k.o.Log.Info("another agent of this node came later, so leave the plugin to it")
		} else {
			k.o.Log.Info("the agent that came later is gone, so take care of the plugin again")
		}
	}
	return passive, nil
}

// inspect is the look of an agent that leaves the plugin to another: whatever
// binary and entry the other chose are right.
func (k *keeper) inspect(plan conflist.Plan) error {
	if _, err := os.Stat(k.binary.path()); err != nil {
		return fmt.Errorf("look at the plugin of the agent that came later: %w", err)
	}
	if plan.Target != "" && !plan.Chained {
		return fmt.Errorf("look at the entry of the agent that came later: %s has none", plan.Target)
	}
	return nil
}

// keepBinary puts the plugin in place.
func (k *keeper) keepBinary(now time.Time) (again time.Duration, err error) {
	right, err := k.binary.right()
	if err != nil || right {
		return 0, err
	}
	if again, err := k.pace.do(now, k.binary.write); err != nil {
		return again, err
	}
	k.o.Count(EventBinary)
	k.o.Log.Info("installed the plugin", "path", k.binary.path())
	return 0, nil
}

// keepEntry does what was planned for the folder of configurations.
func (k *keeper) keepEntry(now time.Time, plan conflist.Plan) (again time.Duration, err error) {
	if again = k.settle(now, plan); again > 0 {
		return again, errMoment
	}
	if len(plan.Steps) == 0 {
		k.target = plan.Target
		return 0, nil
	}
	again, err = k.pace.do(now, func() error { return perform(k.o.ConfDir, plan.Steps) })
	if err != nil {
		return again, err
	}
	k.tellWritten(now, plan)
	k.target = plan.Target
	return 0, nil
}

// settle returns how long to wait before another target than the last is written:
// the last may be in the midst of being written by somebody else.
func (k *keeper) settle(now time.Time, plan conflist.Plan) time.Duration {
	if plan.Target != k.candidate {
		k.candidate, k.since = plan.Target, now
	}
	if plan.Target == k.target || k.target == "" && len(plan.Skipped) == 0 {
		return 0
	}
	return k.since.Add(settled).Sub(now)
}

// tellWritten counts and logs what was done.
func (k *keeper) tellWritten(now time.Time, plan conflist.Plan) {
	entered := false
	for _, s := range plan.Steps {
		if s.Name == plan.Target || s.Do == conflist.Move { // what was a single configuration became the target
			entered = true
			continue
		}
		k.o.Count(EventUnchained)
		k.o.Log.Info("took the plugin out of a configuration that isn't used", "file", s.Name)
	}
	switch {
	case !entered:
	case plan.Target != k.target:
		k.o.Count(EventChained)
		k.o.Log.Info("chained the plugin in", "file", plan.Target)
	default:
		k.o.Count(EventRepaired)
		k.pace.tellRepaired(now, plan.Target)
	}
}

// tellSkipped says which files no runtime can load, when that is news.
func (k *keeper) tellSkipped(skipped []conflist.Skipped) {
	said := ""
	for _, s := range skipped {
		said += s.Name + ": " + s.Reason.Error() + "\n"
	}
	if said == k.skipped {
		return
	}
	k.skipped = said
	for _, s := range skipped {
		k.o.Log.Warn("a CNI configuration can't be loaded: CRI-O passes it over, containerd starts no pod before it is removed or mended", "file", s.Name, "err", s.Reason)
	}
}

// replaced reports whether a folder was removed, though it can still be reached:
// it is a mount of what had its name.
func replaced(dir string) bool {
	info, err := os.Stat(dir)
	if err != nil {
		return false // missing is another matter: it may come
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&fs.ModeDir != 0 && st.Nlink == 0
}
