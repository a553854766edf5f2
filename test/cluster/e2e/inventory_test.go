// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// inventory is what a host consists of, as far as a cluster could change it: kind to sorted lines.
type inventory map[string][]string

// volatile are sysctls that change by themselves, or that reading changes.
var volatile = regexp.MustCompile(`/(random/.*|quota/.*|.*-nr|.*-state|ns_last_pid|pty/nr|nf_conntrack_count|nf_conntrack_buckets|cad_pid|stat_refresh|netdev_rss_key|inode-nr|max_newidle_lb_cost)$`)

// temporary are names that one of the cluster's programs may give to a temporary file.
var temporary = regexp.MustCompile(`containerd|ctr|runc|kube|etcd|coredns|shunt|cni`)

// takeInventory looks at the host.
func takeInventory(t *testing.T) inventory {
	t.Helper()
	sysctls := map[string]string{}
	_ = filepath.WalkDir("/proc/sys", func(path string, entry fs.DirEntry, err error) error {
		// Links come and go with their own settings; the links themselves are compared.
		if err == nil && !entry.IsDir() && !volatile.MatchString(path) && !strings.Contains(path, "/net/ipv4/neigh/") {
			text, _ := os.ReadFile(path) // some can only be written
			sysctls[path] = path + " = " + string(text)
		}
		return nil
	})
	i := inventory{
		"processes":  processes(t),
		"mounts":     printed(t, "findmnt", "--raw", "--noheadings", "--output", "TARGET,SOURCE,FSTYPE"),
		"links":      names("/sys/class/net"),
		"netns":      names("/run/netns"),
		"routes":     append(printed(t, "ip", "-4", "route", "show", "table", "all"), printed(t, "ip", "-6", "route", "show", "table", "all")...),
		"rules":      append(printed(t, "ip", "-4", "rule"), printed(t, "ip", "-6", "rule")...),
		"nft":        printed(t, "nft", "list", "ruleset"),
		"iptables":   chains(printed(t, "iptables-save")),
		"cgroups":    cgroups(),
		"sysctls":    nil,
		"filesystem": nil,
	}
	for _, line := range sysctls {
		i["sysctls"] = append(i["sysctls"], line)
	}
	for _, dir := range []string{"/", "/etc", "/opt", "/usr", "/usr/libexec", "/var", "/var/lib", "/var/log", "/run", "/run/lock", "/root", "/sys/fs/bpf"} {
		for _, name := range names(dir) {
			i["filesystem"] = append(i["filesystem"], filepath.Join(dir, name))
		}
	}
	// Everybody uses /tmp: only what looks like one of the cluster's programs counts.
	i["filesystem"] = append(i["filesystem"], slices.DeleteFunc(names("/tmp"), func(name string) bool {
		return !temporary.MatchString(name)
	})...)
	for _, lines := range i {
		slices.Sort(lines)
	}
	return i
}

// compare fails if after differs from before; a host takes a moment to come to rest.
func (before inventory) compare(t *testing.T) {
	t.Helper()
	var diff string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Second) {
		if diff = cmp.Diff(before, takeInventory(t)); diff == "" {
			return
		}
	}
	t.Errorf("the host is not what it was (-before +after):\n%s", diff)
}

// processes lists the command lines of processes that nobody waits for: what a cluster leaves has lost its parent, or is in
// one of its cgroups. Others come and go as they like.
func processes(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, dir := range dirs {
		status, _ := os.ReadFile(filepath.Join(dir, "status"))
		group, _ := os.ReadFile(filepath.Join(dir, "cgroup"))
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		orphan := bytes.Contains(status, []byte("\nPPid:\t1\n"))
		if len(line) > 0 && (orphan || bytes.Contains(group, []byte("/shunt-")) || bytes.Contains(line, []byte("shunt-cluster"))) {
			lines = append(lines, string(bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
		}
	}
	return lines
}

// printed returns the lines that a program prints.
func printed(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).Output()
	if err != nil {
		t.Fatalf("run %s: %v", strings.Join(args, " "), err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// chains leaves out the comments, which hold the time.
func chains(lines []string) []string {
	return slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, "#") })
}

func names(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var all []string
	for _, entry := range entries {
		all = append(all, entry.Name())
	}
	return all
}

func cgroups() []string {
	var dirs []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	return dirs
}
