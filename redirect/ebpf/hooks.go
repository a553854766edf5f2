// SPDX-License-Identifier: Apache-2.0

package ebpf

import "github.com/cilium/ebpf"

// hook is where one program is attached: for all processes below the control
// group.
type hook struct {
	program string // its name, and that of its pinned link
	at      ebpf.AttachType
}

// hooks are in the order in which they are attached: what answers for captured
// connections is there before any is captured.
func hooks() []hook {
	return []hook{
		{programsProgShuntGetsockopt, ebpf.AttachCGroupGetsockopt},
		{programsProgShuntGetpeername4, ebpf.AttachCgroupInet4GetPeername},
		{programsProgShuntGetpeername6, ebpf.AttachCgroupInet6GetPeername},
		{programsProgShuntSockops, ebpf.AttachCGroupSockOps},
		{programsProgShuntConnect4, ebpf.AttachCGroupInet4Connect},
		{programsProgShuntConnect6, ebpf.AttachCGroupInet6Connect},
	}
}
