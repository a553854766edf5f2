// SPDX-License-Identifier: Apache-2.0

// Package prereq looks for the few programs that the cluster takes from the host, and installs missing ones with apt-get,
// never replacing or removing a package. It starts no service.
package prereq

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/shuntmesh/shunt/test/cluster/command"
	"github.com/shuntmesh/shunt/test/cluster/progress"
)

// need is one thing that must be there, and the Debian package that brings it.
type need struct {
	what    string
	there   func() bool
	Package string
}

// toRun is needed whenever a cluster starts.
func toRun() []need {
	needs := []need{
		{"ip", inPath("ip"), "iproute2"},
		{"nsenter", inPath("nsenter"), "util-linux"},
		{"iptables", inPath("iptables"), "iptables"},
		{"nft", inPath("nft"), "nftables"},
	}
	// A kernel without loadable modules has no such file.
	if _, err := os.Stat("/proc/modules"); err == nil {
		needs = append(needs, need{"modprobe", inPath("modprobe"), "kmod"})
	}
	return needs
}

// toBuild is needed when a binary has to be built; runc is linked with libseccomp.
func toBuild() []need {
	return []need{
		{"gcc", inPath("gcc"), "gcc"},
		{"libc-dev", exists("/usr/include/stdlib.h"), "libc6-dev"},
		{"pkg-config", inPath("pkg-config"), "pkg-config"},
		{"libseccomp-dev", exists("/usr/include/seccomp.h"), "libseccomp-dev"},
	}
}

// Ensure installs what is missing; build says that binaries have to be built.
func Ensure(ctx context.Context, build bool, p *progress.Printer) error {
	needs := toRun()
	if build {
		needs = append(needs, toBuild()...)
	}
	packages, names := missing(needs)
	if len(packages) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("find %s: not installed, and there is no apt-get to install it (install it yourself)", strings.Join(names, ", "))
	}
	return p.Step("install "+strings.Join(packages, " "), func() error {
		return install(ctx, packages)
	})
}

// missing returns the packages to install and what they bring.
func missing(needs []need) (packages, names []string) {
	for _, n := range needs {
		if n.there() {
			continue
		}
		names = append(names, n.what)
		if !slices.Contains(packages, n.Package) {
			packages = append(packages, n.Package)
		}
	}
	return packages, names
}

func install(ctx context.Context, packages []string) error {
	env := []string{"DEBIAN_FRONTEND=noninteractive"}
	if _, err := (command.Command{Args: []string{"apt-get", "update"}, Env: env}).Run(ctx); err != nil {
		return fmt.Errorf("list packages: %w", err)
	}
	args := append([]string{"apt-get", "install", "-y", "--no-remove", "--no-upgrade", "--no-install-recommends"}, packages...)
	if _, err := (command.Command{Args: args, Env: env}).Run(ctx); err != nil {
		return fmt.Errorf("install packages: %w", err)
	}
	return nil
}

func inPath(program string) func() bool {
	return func() bool { _, err := exec.LookPath(program); return err == nil }
}

func exists(path string) func() bool {
	return func() bool { _, err := os.Stat(path); return err == nil }
}
