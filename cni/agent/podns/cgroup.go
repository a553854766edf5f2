// SPDX-License-Identifier: Apache-2.0

package podns

import (
	"bytes"
)

// uidLength is that of a pod's UID, a UUID; hashLength that of a static pod's,
// which the kubelet makes of its file.
const (
	uidLength  = 36
	hashLength = 32
)

// ParseCgroup returns the UID of the pod that a process belongs to, from the
// text of its /proc/PID/cgroup (cgroups(7)), or "" for a process of no pod. The
// kubelet names a pod's cgroup in one of two ways, below whatever root it was
// given:
//
//	/kubepods/burstable/pod1b1e8f9a-7c3e-4d53-9d4a-6a3f9a1f7f10/<container>
//	/kubepods.slice/kubepods-pod1b1e8f9a_7c3e_4d53_9d4a_6a3f9a1f7f10.slice/<container>
//
// The first is its cgroupfs driver, the second its systemd driver. In a cgroup
// namespace a path may begin with "/..". The outermost pod counts: what runs in
// a pod, such as a Kubernetes in a container, can name its own cgroups as it
// likes, but not the one that it is in.
func ParseCgroup(text []byte) string {
	for line := range bytes.Lines(text) {
		_, rest, _ := bytes.Cut(line, []byte{':'})
		_, path, found := bytes.Cut(rest, []byte{':'})
		if !found {
			continue
		}
		for component := range bytes.SplitSeq(bytes.TrimSpace(path), []byte{'/'}) {
			if uid := podUID(component); uid != "" {
				return uid
			}
		}
	}
	return ""
}

// podUID reads one component of a path.
func podUID(component []byte) string {
	if uid, is := bytes.CutPrefix(component, []byte("pod")); is {
		return checked(uid, '-')
	}
	slice, is := bytes.CutSuffix(component, []byte(".slice"))
	if !is {
		return ""
	}
	// systemd's slices name all of their parents, so the pod is what is last.
	i := bytes.LastIndex(slice, []byte("-pod"))
	if i < 0 || !bytes.Contains(slice[:i], []byte("kubepods")) {
		return ""
	}
	return checked(slice[i+len("-pod"):], '_')
}

// checked returns the UID if it is one, with "-" between its parts.
func checked(uid []byte, separator byte) string {
	if len(uid) != uidLength && len(uid) != hashLength {
		return ""
	}
	var out [uidLength]byte
	for i, c := range uid {
		switch {
		case len(uid) == uidLength && (i == 8 || i == 13 || i == 18 || i == 23):
			if c != separator {
				return ""
			}
			c = '-'
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'f':
		default:
			return ""
		}
		out[i] = c
	}
	return string(out[:len(uid)])
}
