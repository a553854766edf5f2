// SPDX-License-Identifier: Apache-2.0

package install

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// How often to look, and when.
const (
	gather    = 10 * time.Millisecond  // at least between two looks: events come in flocks
	resync    = 500 * time.Millisecond // without an event
	polling   = 250 * time.Millisecond // where there can be no events
	rewatches = time.Minute            // until inotify is tried again
)

// watch tells of changes in folders, which may be missing or replaced. Its methods
// are for one goroutine.
type watch struct {
	log     *slog.Logger
	dirs    []string
	create  func() (*fsnotify.Watcher, error)
	inotify *fsnotify.Watcher      // nil where there is none to have
	at      map[string]fs.FileInfo // the folders that are watched, as they were then
	retry   time.Time              // when to try inotify again
}

// newWatch watches the folders, and what they are in: that tells when one is made.
func newWatch(log *slog.Logger, dirs ...string) *watch {
	w := &watch{log: log, create: fsnotify.NewWatcher}
	for _, d := range dirs {
		w.dirs = append(w.dirs, d, filepath.Dir(d))
	}
	return w
}

// follow makes sure that each folder is watched that is there, and that it is the
// one of that name now.
func (w *watch) follow(now time.Time) {
	if w.inotify == nil && now.Before(w.retry) {
		return
	}
	if err := w.add(); err != nil {
		w.log.Warn("watch folders: there are no events, so look four times a second instead (raise fs.inotify.max_user_watches or max_user_instances)", "err", err)
		w.retry = now.Add(rewatches)
		if err := w.close(); err != nil {
			w.log.Warn("stop watching folders", "err", err)
		}
	}
}

func (w *watch) add() (err error) {
	if w.inotify == nil {
		if w.inotify, err = w.create(); err != nil {
			return err
		}
		w.at = make(map[string]fs.FileInfo)
	}
	for _, dir := range w.dirs {
		now, err := os.Stat(dir)
		was := w.at[dir]
		if err == nil && was != nil && os.SameFile(was, now) {
			continue
		}
		if was != nil {
			delete(w.at, dir)
			if err := w.inotify.Remove(dir); err != nil && !errors.Is(err, fsnotify.ErrNonExistentWatch) {
				return fmt.Errorf("stop watching %s: %w", dir, err)
			}
		}
		if err != nil {
			continue // missing; what it is in is watched
		}
		if err := w.inotify.Add(dir); err != nil {
			return fmt.Errorf("watch %s: %w", dir, err)
		}
		w.at[dir] = now
	}
	return nil
}

// wait returns when it is time for the next look: after an event, or after half a
// second, or after the given time if that is something and less. It reports whether
// to go on.
func (w *watch) wait(done <-chan struct{}, again time.Duration) bool {
	looked, limit := time.Now(), resync
	var events <-chan fsnotify.Event
	var problems <-chan error
	if w.inotify == nil {
		limit = polling
	} else {
		events, problems = w.inotify.Events, w.inotify.Errors
	}
	if again > 0 {
		limit = min(limit, again)
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case <-done:
			return false
		case <-timer.C:
			return true
		case err := <-problems:
			w.log.Warn("watch folders: events were lost, so look at once", "err", err)
		case <-events:
		}
		// The first event is followed at once, what comes with it a moment later.
		timer.Reset(max(0, gather-time.Since(looked)))
	}
}

func (w *watch) close() error {
	if w.inotify == nil {
		return nil
	}
	err := w.inotify.Close()
	w.inotify, w.at = nil, nil
	return err
}
