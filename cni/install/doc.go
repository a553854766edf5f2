// SPDX-License-Identifier: Apache-2.0

// Package install keeps the CNI plugin in place on a node: its binary in the
// runtime's folder of plugins, and its entry in the configuration that the runtime
// uses. Package conflist below it decides what to change; this package acts.
//
// # Order
//
// The binary comes first and goes last: CRI-O passes over a configuration whose
// plugins are missing, and containerd fails the pod. Nothing is removed when Run
// ends, so a pod that starts while the agent is being replaced is captured like any
// other, as is one that starts at boot before the agent does. Uninstall is another
// call.
//
// # Files are replaced, never written
//
// The runtime watches the folder and may read at any moment. Each file is written
// under a temporary name in the same folder, synced, and renamed. The same folder
// matters twice: a rename works there, and containerd (2.2) reloads on the event of
// the name that goes, not on that of the name that comes. A temporary name ends in
// nothing that a runtime loads. What a killed install leaves behind is removed by
// the next one.
//
// A binary that is open for writing can't be executed (ETXTBSY), and a child that
// is forked meanwhile inherits the descriptor for a moment; so nothing is forked
// while one is open.
//
// Between reading a configuration and putting the new one in its place somebody else
// may write it. So the two files change places in one step (RENAME_EXCHANGE), and
// what comes out is looked at: if it isn't what was read before, it goes back, and
// the change is planned again.
//
// # Repair without a fight
//
// Other installers write the configuration as well: when their pod starts, when an
// address range changes, or, as Cilium does unless told (cni.exclusive=false),
// whenever it isn't as they left it. Each look compares and puts the entry back. A
// look follows each event in one of the folders, at most each 10 ms, and comes twice
// a second anyway, since events can be lost; where inotify has no watches left, it
// comes each 250 ms, and the log says so.
//
// Writes are paced by a bucket of five, filled at two a second. An installer that
// writes now and then, even each second, meets an immediate repair; one that answers
// each of our writes with its own gets two a second, and no more. So no repair waits
// longer than half a second. To back off further would buy nothing: two writes a
// second are no load for the node, while each second without the entry is a second
// in which pods start uncaptured, and have to wait in their validating init container
// until the agent repairs them. To go faster would make the runtime reload without
// end: containerd starts no pod while it reloads.
//
// A configuration that is written in place is broken for a moment, and one that is
// removed and written again is missing; that doesn't make the next file of the
// folder the runtime's choice. So another target than the last has to be the choice
// for 200 ms before anything is written there.
//
// # Two agents
//
// During a rolling update two agents can be on a node for a while, with different
// binaries and entries. The one that came last acts, the other watches. They tell
// by a lock file beside the binary: each holds the lock of one byte, an open file
// description lock of fcntl(2), for as long as it lives, and a newcomer takes the
// byte behind the last. Who sees a lock behind its own is not the last. The kernel
// drops the lock of an agent that dies, however it dies, so a roll-back gives the
// node back to the agent that stayed, within a second. No clock is compared and
// nothing stale can remain. Versions are not compared either: a roll-back to an
// older version is as good a reason as an upgrade.
package install
