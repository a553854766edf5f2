// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// Probe returns nil where this kernel, and the node's mounts, have all that the
// programs take. Otherwise the error names everything that is missing, with the
// first Linux that had it, and wraps errors.ErrUnsupported. The kernel is asked,
// not its version: distributions add to old kernels and leave things out of new
// ones.
func (n Node) Probe() error {
	var lacks []error
	for _, f := range n.facilities() {
		if err := f.ask(); err != nil {
			lacks = append(lacks, fmt.Errorf("%s: %w", f.name, err))
		}
	}
	if len(lacks) > 0 {
		return fmt.Errorf("probe node: %w: %w", errors.ErrUnsupported, errors.Join(lacks...))
	}
	return nil
}

// facility is one thing that is needed.
type facility struct {
	name string
	ask  func() error
}

func (n Node) facilities() []facility {
	helper := func(t ebpf.ProgramType, h asm.BuiltinFunc) func() error {
		return func() error { return features.HaveProgramHelper(t, h) }
	}
	return []facility{
		{"bpffs at " + n.BPFFS + " (mount -t bpf bpf " + n.BPFFS + ")", func() error { return mounted(n.BPFFS, unix.BPF_FS_MAGIC) }},
		{"control groups of version 2 at " + n.CgroupRoot, func() error { return mounted(n.CgroupRoot, unix.CGROUP2_SUPER_MAGIC) }},
		{"the kernel's own types, /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF)", func() error { _, err := btf.LoadKernelSpec(); return err }},
		{"the number of a network namespace (Linux 5.14)", func() error { _, err := netnsCookie(); return err }},
		{"the same in sockops programs (Linux 5.15)", helper(ebpf.SockOps, asm.FnGetNetnsCookie)},
		{"the same in connect programs (Linux 5.7)", helper(ebpf.CGroupSockAddr, asm.FnGetNetnsCookie)},
		{"getsockopt programs (Linux 5.3)", func() error { return features.HaveProgramType(ebpf.CGroupSockopt) }},
		{"sk_lookup programs (Linux 5.9)", func() error { return features.HaveProgramType(ebpf.SkLookup) }},
		{"socket storage in sockops programs (Linux 5.8)", helper(ebpf.SockOps, asm.FnSkStorageGet)},
		{"maps of sockets (Linux 4.18)", func() error { return features.HaveMapType(ebpf.SockHash) }},
		{"iterators over TCP sockets and what is kept on them (Linux 5.9)", iterators},
	}
}

// iterators looks for what such programs are handed.
func iterators() error {
	kernel, err := btf.LoadKernelSpec()
	for _, name := range []string{"bpf_iter__tcp", "bpf_iter__bpf_sk_storage_map"} {
		if err == nil {
			_, err = kernel.AnyTypeByName(name)
		}
	}
	return err
}

// mounted reports whether a path is on a file system of that kind.
func mounted(path string, magic int64) error {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return fmt.Errorf("inspect file system: %w", err)
	}
	if s.Type != magic {
		return fmt.Errorf("another file system is there (type %#x, want %#x)", s.Type, magic)
	}
	return nil
}
