// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// restartDelay is how long a daemon that ended stays down.
	restartDelay = time.Second
	// pollInterval is how often a daemon that waits for something looks for it.
	pollInterval = 100 * time.Millisecond
	// searchPath puts the binaries of the cluster, beside this program's spec, before the host's.
	searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// first is the state of a machine's first process. One goroutine owns it.
type first struct {
	spec    Spec
	log     *slog.Logger
	running map[int]int       // pid -> index of the service
	due     map[int]time.Time // index of a service that doesn't run -> when to look at it
	starts  map[int]int       // index of a service -> how often it was started
}

// Init is the life of a machine's first process, in fresh namespaces. It makes the mounts, starts the services, writes to
// ready (nothing, or what went wrong) and closes it, and then reaps and restarts until it is killed.
func Init(spec Spec, bin string, ready *os.File, log *slog.Logger) error {
	f := &first{spec: spec, log: log, running: map[int]int{}, due: map[int]time.Time{}, starts: map[int]int{}}
	err := f.prepare()
	if err != nil {
		_, _ = ready.WriteString(err.Error())
	}
	if closeErr := ready.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	for i := range spec.Services {
		f.due[i] = time.Time{}
	}
	f.run(bin)
	return nil
}

func (f *first) prepare() error {
	for _, file := range f.spec.Join {
		if err := os.WriteFile(file, []byte("0"), 0); err != nil {
			return fmt.Errorf("join a cgroup: %w", err)
		}
	}
	if err := syscall.Sethostname([]byte(f.spec.Name)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	// What is mounted here must not reach the host; what a kubelet mounts must reach its containers.
	if err := syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, m := range f.spec.Mounts {
		if err := m.make(); err != nil {
			return err
		}
	}
	if err := syscall.Mount("", "/", "", syscall.MS_SHARED|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts shared: %w", err)
	}
	return nil
}

func (m Mount) make() error {
	var err error
	switch m.Kind {
	case "bind":
		err = syscall.Mount(m.Source, m.Target, "", syscall.MS_BIND, "")
	case "tmpfs":
		err = syscall.Mount("tmpfs", m.Target, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=755")
	case "proc", "bpf":
		err = syscall.Mount(m.Kind, m.Target, m.Kind, 0, "")
	default:
		err = fmt.Errorf("kind %q is none of bind, tmpfs, proc, bpf", m.Kind)
	}
	if err != nil {
		return fmt.Errorf("mount %s on %s: %w", m.Kind, m.Target, err)
	}
	return nil
}

// run kills what is held, reaps and restarts for ever. Only this loop starts and reaps, so a process can't end before it is known.
func (f *first) run(bin string) {
	ended := make(chan os.Signal, 16)
	signal.Notify(ended, syscall.SIGCHLD)
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		f.killHeld()
		f.startDue(bin, time.Now())
		select {
		case <-ended:
		case <-tick.C:
		}
		f.reap(time.Now())
	}
}

func (f *first) startDue(bin string, now time.Time) {
	for i, at := range f.due {
		service := f.spec.Services[i]
		if now.Before(at) || f.held(service) || !satisfied(service.After) {
			continue
		}
		pid, err := f.start(service, bin)
		if err != nil {
			f.log.Error("start a service", "service", service.Name, "error", err)
			f.due[i] = now.Add(restartDelay)
			continue
		}
		f.log.Info("service started", "service", service.Name, "pid", pid)
		delete(f.due, i)
		f.running[pid] = i
		f.starts[i]++
		f.report()
	}
}

// reap buries all that has ended, also what daemons left behind.
func (f *first) reap(now time.Time) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if pid <= 0 || err != nil {
			return
		}
		i, ours := f.running[pid]
		if !ours {
			continue
		}
		delete(f.running, pid)
		f.due[i] = now.Add(restartDelay)
		f.log.Warn("service ended", "service", f.spec.Services[i].Name, "pid", pid, "exit", status.ExitStatus(), "signal", status.Signal())
		f.report()
	}
}

func (f *first) start(service Service, bin string) (pid int, err error) {
	out, err := os.OpenFile(f.spec.State.Log(f.spec.Name, service.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	return syscall.ForkExec(service.Args[0], service.Args, &syscall.ProcAttr{
		Dir:   f.spec.State.Path(f.spec.Name),
		Env:   []string{"PATH=" + bin + ":" + searchPath, "HOME=/root", "LANG=C"},
		Files: []uintptr{null.Fd(), out.Fd(), out.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
}

// satisfied reports whether everything that a service waits for is there.
func satisfied(conditions []string) bool {
	for _, condition := range conditions {
		kind, what, _ := strings.Cut(condition, ":")
		if kind == "file" {
			if _, err := os.Stat(filepath.Clean(what)); err != nil {
				return false
			}
			continue
		}
		conn, err := net.DialTimeout(kind, what, pollInterval)
		if err != nil {
			return false
		}
		_ = conn.Close()
	}
	return true
}
