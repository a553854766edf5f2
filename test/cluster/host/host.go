// SPDX-License-Identifier: Apache-2.0

// Package host changes what can't be private to a machine, writes down first what it is about to change, and takes it back.
// That is: mount points that don't exist, the directory of named network namespaces, the kernel module br_netfilter, and what
// the root of cgroup version 2 hands to its children.
package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/shuntmesh/shunt/test/cluster/command"
	"github.com/shuntmesh/shunt/test/cluster/layout"
)

// Record says what of the host was changed, and has to be taken back.
type Record struct {
	// Dirs were made, in this order.
	Dirs []string `json:"dirs"`
	// NetNSMount says that ip-netns(8) will have mounted its directory upon itself, which was not so before.
	NetNSMount bool `json:"netnsMount"`
	// BridgeModule says that br_netfilter was loaded.
	BridgeModule bool `json:"bridgeModule"`
	// Controllers are those of cgroup version 2 that no cgroup beneath the root had.
	Controllers []string `json:"controllers"`
}

// bridgeFilter is there when bridged packets can be shown to netfilter: kube-proxy needs it between two pods of a node.
const bridgeFilter = "/proc/sys/net/bridge"

// Plan says what has to be changed so that dirs exist and named network namespaces and bridge filtering work.
func Plan(dirs []string) (Record, error) {
	var r Record
	for _, dir := range append(dirs, layout.NetNSDir) {
		r.Dirs = append(r.Dirs, absent(dir)...)
	}
	mounted, err := mountPoint(layout.NetNSDir)
	if err != nil {
		return Record{}, err
	}
	r.NetNSMount = !mounted
	_, err = os.Stat(bridgeFilter)
	r.BridgeModule = errors.Is(err, os.ErrNotExist)
	r.Controllers, err = dormant(cgroupRoot)
	return r, err
}

// absent returns the directories, from the top down, that must be made for dir to exist.
func absent(dir string) []string {
	if _, err := os.Stat(dir); err == nil || dir == "/" {
		return nil
	}
	return append(absent(filepath.Dir(dir)), dir)
}

// Apply files the record and then changes the host.
func (r Record) Apply(ctx context.Context, path string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the record of the host: %w", err)
	}
	if err := os.WriteFile(path+".half", text, 0o644); err != nil {
		return fmt.Errorf("record the host: %w", err)
	}
	if err := os.Rename(path+".half", path); err != nil {
		return fmt.Errorf("record the host: %w", err)
	}
	for _, dir := range r.Dirs {
		if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
			return fmt.Errorf("make a mount point: %w", err)
		}
	}
	if r.BridgeModule {
		if err := loadBridgeFilter(ctx); err != nil {
			return err
		}
	}
	return wake(cgroupRoot, r.Controllers)
}

// loadBridgeFilter loads the module and at once turns it off in the host's own namespace, where it is on by default and
// would change how bridges of others work.
func loadBridgeFilter(ctx context.Context) error {
	if _, err := command.Run(ctx, "modprobe", "br_netfilter"); err != nil {
		return fmt.Errorf("load br_netfilter: %w (kube-proxy needs CONFIG_BRIDGE_NETFILTER)", err)
	}
	for _, key := range []string{"bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables"} {
		if err := os.WriteFile(filepath.Join(bridgeFilter, key), []byte("0"), 0o644); err != nil {
			return fmt.Errorf("turn bridge filtering off on the host: %w", err)
		}
	}
	return nil
}

// Restore takes back what the record at path says, as far as nobody else uses it meanwhile. No record is no error.
func Restore(ctx context.Context, path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the record of the host: %w", err)
	}
	var r Record
	if err := json.Unmarshal(text, &r); err != nil {
		return fmt.Errorf("read the record of the host %s: %w", path, err)
	}
	rest(cgroupRoot, r.Controllers)
	if r.NetNSMount {
		if err := unmountNetNS(); err != nil {
			return err
		}
	}
	for i := len(r.Dirs) - 1; i >= 0; i-- {
		err := syscall.Rmdir(r.Dirs[i])
		inUse := errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.EEXIST)
		if err != nil && !inUse && !errors.Is(err, syscall.ENOENT) {
			return fmt.Errorf("remove the mount point %s: %w", r.Dirs[i], err)
		}
	}
	if r.BridgeModule {
		// In use by another's bridge rules it stays; that is no error of ours.
		_, _ = command.Run(ctx, "modprobe", "-r", "br_netfilter")
	}
	return os.Remove(path)
}

// unmountNetNS undoes what ip-netns(8) did to its directory, unless another's namespaces are there by now.
func unmountNetNS() error {
	entries, err := os.ReadDir(layout.NetNSDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("list named network namespaces: %w", err)
	}
	if len(entries) > 0 {
		return nil
	}
	for {
		mounted, err := mountPoint(layout.NetNSDir)
		if err != nil || !mounted {
			return err
		}
		if err := syscall.Unmount(layout.NetNSDir, syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", layout.NetNSDir, err)
		}
	}
}

func mountPoint(dir string) (bool, error) {
	points, err := Mounts(dir)
	if err != nil {
		return false, err
	}
	for _, point := range points {
		if point == dir {
			return true, nil
		}
	}
	return false, nil
}

// Mounts returns the mount points at and beneath dir that this process sees, in the order in which they were mounted.
func Mounts(dir string) ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	var points []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) > 4 && (fields[4] == dir || strings.HasPrefix(fields[4], dir+"/")) {
			points = append(points, fields[4])
		}
	}
	return points, nil
}

// UnmountBeneath unmounts everything beneath dir, the last first.
func UnmountBeneath(dir string) error {
	points, err := Mounts(dir)
	if err != nil {
		return err
	}
	for i := len(points) - 1; i >= 0; i-- {
		if points[i] == dir {
			continue // the state directory may be a mount of the user's
		}
		if err := syscall.Unmount(points[i], syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
			return fmt.Errorf("unmount %s: %w", points[i], err)
		}
	}
	return nil
}
