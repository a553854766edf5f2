// SPDX-License-Identifier: Apache-2.0

// Package conflist decides what has to change in a folder of CNI configurations
// so that our plugin is chained into the one that the container runtime uses, or
// into none any more. It is pure: files in, writes out.
//
// # Which file
//
// containerd (go-cni) and CRI-O (ocicni) list the entries of the folder that are
// no directories and end in .conf, .conflist or .json, and sort them by name. A
// .conflist is a list of plugins, the other two are one plugin each. The first is
// the pod's network: eth0, and all there is unless containerd's max_conf_num says
// otherwise. They differ over a file that they can't load: CRI-O goes on to the
// next one, containerd starts no pod at all until it is gone. The first valid file
// is right for both. A file that a runtime would load and that we can't chain into
// is an error, since going on would chain into a file that nobody uses.
//
// CRI-O's cni_default_network picks a network by its name instead.
//
// # Delegating plugins
//
// Multus in front of another CNI is one plugin in the first file, and that file is
// the one to chain into: the runtime gives each plugin of its own list the pod's
// annotations when the plugin declares the capability; Multus hands none to the
// configurations it delegates to.
//
// # What is kept
//
// An entry is spliced into the text of a list, so that every other byte stays:
// unknown fields, numbers, the order of keys, white space. Taking it out again
// gives back the same bytes. A .conf or .json becomes a .conflist, and is kept
// aside under another name until the entry is taken out.
//
// # Versions
//
// The runtime speaks the list's cniVersion with each plugin in it. Lists came with
// 0.3.0 of the CNI specification, so an older or absent version is refused, and so
// is one that is newer than our plugin: an entry there would fail each pod of the
// node. Capabilities are older than lists, and runtimes hand them to plugins of
// any version.
package conflist
