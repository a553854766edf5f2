// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/shuntmesh/shunt/cni/install/conflist"
	"github.com/shuntmesh/shunt/internal/contract"
)

// reload is how long a runtime may take to load what was written, and to end the
// additions that it had begun with what was there before.
const reload = 2 * time.Second

// attempts bounds how often Uninstall begins again, since somebody else writes too.
const attempts = 5

// maxCached bounds what is read of one entry of the runtime's cache, in bytes.
const maxCached = 4 << 20

// ErrShared is a node with another agent on it, which keeps the plugin.
var ErrShared = errors.New("another agent is on this node and keeps the plugin")

// Uninstall takes the plugin out of the node: out of each configuration first,
// and the binary when nothing names it any more. It has to be called after Run has
// returned, takes two seconds, and may be called again. It returns ErrShared and
// does nothing where another agent is on the node, as during a rolling update.
func (i *Installer) Uninstall(ctx context.Context) (err error) {
	if _, err := i.o.validate(); err != nil {
		return err
	}
	c, err := takeClaim(i.o.lockPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no folder of plugins, and so no plugin
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.release()) }()
	if alone, err := c.alone(); err != nil || !alone {
		return errors.Join(err, ErrShared)
	}
	if err := errors.Join(sweep(i.o.BinDir), sweep(i.o.ConfDir)); err != nil {
		return err
	}
	changed, err := i.unchain()
	if err != nil {
		return err
	}
	if changed {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the runtime before the plugin is removed: %w", context.Cause(ctx))
		case <-time.After(reload):
		}
	}
	if err := i.removeBinary(); err != nil {
		return err
	}
	i.set(errUninstalled)
	return nil
}

// unchain takes the entry out of every configuration, and reports whether there
// was anything to do.
func (i *Installer) unchain() (changed bool, err error) {
	for range attempts {
		files, err := readFolder(i.o.ConfDir, func(string) bool { return true })
		if err != nil {
			return changed, err
		}
		plan, err := conflist.Uninstall(files)
		for _, s := range plan.Skipped {
			i.o.Log.Warn("a file that is no CNI configuration names the plugin, and was left as it is", "file", s.Name, "err", s.Reason)
		}
		if len(plan.Steps) == 0 {
			return changed, err
		}
		changed = true
		performed := perform(i.o.ConfDir, plan.Steps)
		if errors.Is(performed, errChanged) {
			continue
		}
		if err := errors.Join(err, performed); err != nil {
			return changed, err
		}
		i.o.Log.Info("took the plugin out of the CNI configuration", "folder", i.o.ConfDir)
		i.o.Count(EventUnchained)
	}
	return changed, fmt.Errorf("take the plugin out of %s: another program puts it back (stop it first)", i.o.ConfDir)
}

// removeBinary removes the plugin, unless something still needs it.
func (i *Installer) removeBinary() error {
	files, err := readFolder(i.o.ConfDir, conflist.Loads)
	if err != nil {
		return err
	}
	for _, f := range files {
		if conflist.Mentions(f) {
			return fmt.Errorf("remove the plugin: %s names it (take it out there first)", filepath.Join(i.o.ConfDir, f.Name))
		}
	}
	pods, err := cached(i.o.CacheDir)
	if err != nil {
		return fmt.Errorf("remove the plugin: %w", err)
	}
	if pods > 0 {
		i.o.Log.Warn("the plugin stays: the runtime calls it when it deletes the pods that began with it", "path", i.o.BinDir, "pods", pods)
		return nil
	}
	for _, name := range []string{contract.PluginBinary, lockName} {
		if err := removeIfThere(filepath.Join(i.o.BinDir, name)); err != nil {
			return fmt.Errorf("remove the plugin: %w", err)
		}
	}
	return syncFile(i.o.BinDir)
}

// cached counts what the runtime would delete with our plugin: the entries of
// libcni's cache whose list has it.
func cached(dir string) (count int, err error) {
	if dir == "" {
		return 0, nil
	}
	results := filepath.Join(dir, "results")
	entries, err := os.ReadDir(results)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the runtime's cache: %w", err)
	}
	for _, e := range entries {
		named, err := cachedNames(filepath.Join(results, e.Name()))
		if err != nil {
			return 0, fmt.Errorf("read the runtime's cache: %w", err)
		}
		if named {
			count++
		}
	}
	return count, nil
}

// cachedNames reports whether an entry of the cache names our plugin. One that is
// gone, or isn't an entry, doesn't.
func cachedNames(path string) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!info.Mode().IsRegular() || info.Size() > maxCached) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var attachment struct {
		Config []byte `json:"config"` // base64 in JSON
	}
	if err := json.Unmarshal(text, &attachment); err != nil {
		return false, nil //nolint:nilerr // other runtimes keep other files there
	}
	return bytes.Contains(attachment.Config, []byte(`"`+contract.PluginBinary+`"`)), nil
}
