// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/internal/flock"
)

// Node is what is per node: the programs, their maps and where they are attached.
// Everything is pinned and works on when the process ends. It needs root.
type Node struct {
	BPFFS      string // where bpffs is mounted, such as /sys/fs/bpf
	CgroupRoot string // of version 2, above all pods of this node and no other's
	Proc       string // the host's /proc, where it is mounted elsewhere; Balance alone reads it
}

// Load makes this version's programs the node's, and reports whether that took a
// change. The first time it attaches them; later it replaces those that are
// there, each in one step, under which open connections keep their way and new
// ones meet the old program or the new. Where another layout of the maps is
// pinned under this version's name, it refuses and changes nothing.
func (n Node) Load(ctx context.Context) (changed bool, err error) {
	if err := n.Probe(); err != nil {
		return false, err
	}
	spec, err := loadPrograms()
	if err != nil {
		return false, fmt.Errorf("read programs: %w", err)
	}
	return n.load(ctx, spec)
}

// load makes a version's programs the node's.
func (n Node) load(ctx context.Context, spec *ebpf.CollectionSpec) (changed bool, err error) {
	unlock, err := n.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	core, destroyer := apart(spec)
	loaded, err := n.loadOver(core)
	if err != nil {
		return false, err
	}
	defer loaded.Close()
	steps := []func(*ebpf.Collection) (bool, error){
		n.installLookup,
		func(c *ebpf.Collection) (bool, error) { return n.installIterator(c, programsProgShuntListeners, nil) },
		func(c *ebpf.Collection) (bool, error) {
			return n.installIterator(c, programsProgShuntRemoved, c.Maps[programsMapOrigins])
		},
		func(*ebpf.Collection) (bool, error) { return n.installDestroyer(destroyer) },
	}
	for _, h := range hooks() {
		steps = append(steps, func(c *ebpf.Collection) (bool, error) { return n.installHook(c, h) })
	}
	for _, step := range steps {
		did, err := step(loaded)
		if err != nil {
			return changed, err
		}
		changed = changed || did
	}
	return changed, nil
}

func (n Node) layout() layout { return layout{n.BPFFS} }

// lockPoll is how often a lock that another agent holds is tried. To load takes
// some hundred milliseconds.
const lockPoll = 10 * time.Millisecond

// lock keeps two agents from loading at once. The kernel frees it with its holder.
func (n Node) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(n.layout().root(), 0o700); err != nil {
		return nil, fmt.Errorf("make %s: %w", n.layout().root(), hint(err))
	}
	for _, dir := range n.layout().dirs() {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make %s: %w", dir, hint(err))
		}
	}
	dir, err := os.Open(n.layout().root())
	if err != nil {
		return nil, fmt.Errorf("lock node: %w", err)
	}
	if err := flock.Wait(ctx, dir, lockPoll); err != nil {
		return nil, errors.Join(fmt.Errorf("lock node: %w (another agent is at work)", err), dir.Close())
	}
	return func() { _ = dir.Close() }, nil
}

// loadOver loads programs over the maps that are pinned, or new ones where none
// are.
func (n Node) loadOver(spec *ebpf.CollectionSpec) (*ebpf.Collection, error) {
	for _, m := range spec.Maps {
		m.Pinning = ebpf.PinByName
	}
	loaded, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: n.layout().maps()}})
	if errors.Is(err, ebpf.ErrMapIncompatible) {
		return nil, fmt.Errorf("load programs: %w (maps of another layout are pinned below %s: the programs there stay as they are)", err, n.layout().maps())
	}
	if err != nil {
		return nil, fmt.Errorf("load programs: %w", hint(err))
	}
	return loaded, nil
}

// installLookup puts the program there that all pods' stubs go on with.
func (n Node) installLookup(loaded *ebpf.Collection) (bool, error) {
	program, lookups := loaded.Programs[programsProgShuntLookup], loaded.Maps[programsMapLookups]
	var held ebpf.ProgramID
	err := lookups.Lookup(uint32(0), &held)
	if err == nil && sameProgram(held, program) {
		return false, nil
	}
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, fmt.Errorf("read program array: %w", hint(err))
	}
	if err := lookups.Put(uint32(0), program); err != nil {
		return false, fmt.Errorf("install %s: %w", programsProgShuntLookup, hint(err))
	}
	return true, nil
}

// installIterator pins an iterator, which is run by reading it. One over a map is
// told which.
func (n Node) installIterator(loaded *ebpf.Collection, name string, over *ebpf.Map) (bool, error) {
	program := loaded.Programs[name]
	return n.install(name, program, func() (link.Link, error) {
		return link.AttachIter(link.IterOptions{Program: program, Map: over})
	})
}

// installHook attaches one program to the control group. A link to another one,
// or to one that is gone, is replaced.
func (n Node) installHook(loaded *ebpf.Collection, h hook) (bool, error) {
	if err := n.dropForeign(h); err != nil {
		return false, err
	}
	program := loaded.Programs[h.program]
	return n.install(h.program, program, func() (link.Link, error) {
		return link.AttachCgroup(link.CgroupOptions{Path: n.CgroupRoot, Attach: h.at, Program: program})
	})
}

// install updates the pinned link, or attaches and pins a new one.
func (n Node) install(name string, program *ebpf.Program, attach func() (link.Link, error)) (changed bool, err error) {
	path := n.layout().link(name)
	l, err := link.LoadPinnedLink(path, nil)
	if err == nil {
		defer l.Close()
		return updateLink(l, name, program)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("open link of %s: %w", name, hint(err))
	}
	if l, err = attach(); err != nil {
		return false, fmt.Errorf("attach %s: %w", name, hint(err))
	}
	defer l.Close()
	if err := l.Pin(path); err != nil {
		return false, fmt.Errorf("pin link of %s: %w", name, hint(err))
	}
	return true, nil
}

func updateLink(l link.Link, name string, program *ebpf.Program) (bool, error) {
	info, err := l.Info()
	if err != nil {
		return false, fmt.Errorf("inspect link of %s: %w", name, hint(err))
	}
	if sameProgram(info.Program, program) {
		return false, nil
	}
	if err := l.Update(program); err != nil {
		return false, fmt.Errorf("update link of %s: %w", name, hint(err))
	}
	return true, nil
}

// sameProgram compares the hashes of two programs' instructions.
func sameProgram(id ebpf.ProgramID, program *ebpf.Program) bool {
	held, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return false
	}
	defer held.Close()
	heldInfo, errHeld := held.Info()
	info, err := program.Info()
	return errors.Join(errHeld, err) == nil && heldInfo.Tag == info.Tag && heldInfo.Name == info.Name
}

// dropForeign unpins a link that is not attached to our control group: that of
// another root, or of one that was deleted.
func (n Node) dropForeign(h hook) error {
	path := n.layout().link(h.program)
	attached, err := linkedCgroup(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	own, err := n.cgroupID()
	if err != nil || attached == own {
		return err
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("unpin link of %s: %w", h.program, err)
	}
	return nil
}

// linkedCgroup returns the id of the control group that a link is attached to;
// 0 where that is gone.
func linkedCgroup(path string) (uint64, error) {
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return 0, fmt.Errorf("open link %s: %w", path, hint(err))
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return 0, fmt.Errorf("inspect link %s: %w", path, hint(err))
	}
	cgroup := info.Cgroup()
	if cgroup == nil {
		return 0, fmt.Errorf("inspect link %s: it is of kind %v, want one of a control group", path, info.Type)
	}
	return cgroup.CgroupId, nil
}

// cgroupID returns the id of our control group, which is its inode.
func (n Node) cgroupID() (uint64, error) {
	var s unix.Stat_t
	if err := unix.Stat(n.CgroupRoot, &s); err != nil {
		return 0, fmt.Errorf("inspect control group %s: %w", n.CgroupRoot, err)
	}
	return s.Ino, nil
}

// Unload takes everything away, of every pod too: from then on nobody is
// captured. It is for uninstalling, and never for a stop. Finding nothing is no
// error.
func (n Node) Unload(ctx context.Context) error {
	if _, err := os.Stat(n.layout().root()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := n.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for _, dir := range slices.Backward(n.layout().dirs()) { // pods and links before maps
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("unpin %s: %w", dir, err)
		}
	}
	// Another version may have a directory beside ours.
	if err := os.Remove(filepath.Dir(n.layout().root())); err != nil && !errors.Is(err, unix.ENOTEMPTY) {
		return fmt.Errorf("remove %s: %w", filepath.Dir(n.layout().root()), err)
	}
	return nil
}
