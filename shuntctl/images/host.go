// SPDX-License-Identifier: Apache-2.0

package images

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// iptablesPrograms are the programs behind all names of iptables, with the
// names that redirect uses.
func iptablesPrograms() map[string][]string {
	names := func(variant string) []string {
		var out []string
		for _, family := range []string{"iptables", "ip6tables"} {
			for _, suffix := range []string{"", "-save", "-restore"} {
				out = append(out, family+"-"+variant+suffix)
			}
		}
		return out
	}
	return map[string][]string{"xtables-nft-multi": names("nft"), "xtables-legacy-multi": names("legacy")}
}

// iptablesModules are the extensions that redirect's rules use. A version may
// have some of them in one file, or built in.
func iptablesModules() []string {
	return []string{"libxt_comment", "libxt_conntrack", "libxt_multiport", "libxt_owner", "libxt_socket", "libxt_standard", "libxt_tcp", "libxt_NAT", "libxt_REDIRECT", "libipt_REDIRECT", "libip6t_REDIRECT"}
}

// hostIPTables returns iptables of the host at root ("/" but in tests), with
// the loader, the libraries and the modules that it needs, each at its own path.
func hostIPTables(root string) ([]file, error) {
	h := host{root: root, found: make(map[string]file)}
	programs := iptablesPrograms()
	for _, program := range []string{"xtables-nft-multi", "xtables-legacy-multi"} {
		at, err := h.find(program, "usr/sbin", "sbin")
		if err != nil {
			return nil, fmt.Errorf("find %s: %w (install iptables 1.8 or later on this machine)", program, err)
		}
		if err := h.add(at, "usr/local/bin/"+program); err != nil {
			return nil, err
		}
		for _, name := range programs[program] {
			h.found["usr/local/bin/"+name] = file{path: "usr/local/bin/" + name, mode: 0o777, link: program}
		}
	}
	if err := h.addModules(); err != nil {
		return nil, err
	}
	out := make([]file, 0, len(h.found))
	for _, f := range h.found {
		out = append(out, f)
	}
	out = append(out, parents(out)...)
	slices.SortFunc(out, func(a, b file) int { return cmp.Compare(a.path, b.path) })
	return out, nil
}

// host is a file system from which files are taken.
type host struct {
	root  string
	found map[string]file // by path in the image
}

// find returns the first of the folders, relative to the root, that has a file.
func (h host) find(name string, dirs ...string) (string, error) {
	for _, dir := range dirs {
		at := path.Join(dir, name)
		if _, err := os.Stat(filepath.Join(h.root, at)); err == nil {
			return at, nil
		}
	}
	return "", fmt.Errorf("%s is in none of %s: %w", name, strings.Join(dirs, ", "), fs.ErrNotExist)
}

// add puts a file of the host at a path of the image, and what it needs to run
// at the paths where the loader looks.
func (h host) add(at, to string) error {
	if _, done := h.found[to]; done {
		return nil
	}
	body, err := os.ReadFile(filepath.Join(h.root, at))
	if err != nil {
		return fmt.Errorf("read %s: %w", at, err)
	}
	h.found[to] = file{path: to, mode: 0o755, body: body}
	exe, err := elf.NewFile(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("read %s: %w (a Linux ELF file is needed)", at, err)
	}
	if err := h.addLoader(exe); err != nil {
		return fmt.Errorf("read %s: %w", at, err)
	}
	libraries, err := exe.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("read the libraries of %s: %w", at, err)
	}
	for _, library := range libraries {
		dirs := libraryDirs(exe.Machine)
		lib, err := h.find(library, dirs...)
		if err != nil {
			return fmt.Errorf("find a library of %s: %w", at, err)
		}
		if err := h.add(lib, lib); err != nil {
			return err
		}
	}
	return nil
}

// addLoader adds the program's loader, whose path is fixed in the program.
func (h host) addLoader(exe *elf.File) error {
	for _, p := range exe.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		name, err := io.ReadAll(p.Open())
		if err != nil {
			return fmt.Errorf("read the loader's path: %w", err)
		}
		at := strings.TrimPrefix(strings.TrimRight(string(name), "\x00"), "/")
		if err := h.add(at, at); err != nil {
			return err
		}
	}
	return nil
}

// libraryDirs are where the loaders of Debian, Fedora and Alpine look.
func libraryDirs(m elf.Machine) []string {
	triplet := "x86_64-linux-gnu"
	if m == elf.EM_AARCH64 {
		triplet = "aarch64-linux-gnu"
	}
	return []string{"lib/" + triplet, "usr/lib/" + triplet, "lib64", "usr/lib64", "lib", "usr/lib"}
}

// addModules adds the modules from the one folder that the host has them in.
func (h host) addModules() error {
	for _, pattern := range []string{"usr/lib/*/xtables", "usr/lib64/xtables", "usr/lib/xtables", "lib/xtables"} {
		dirs, err := filepath.Glob(filepath.Join(h.root, pattern))
		if err != nil || len(dirs) == 0 {
			continue
		}
		dir, err := filepath.Rel(h.root, dirs[0])
		if err != nil {
			return fmt.Errorf("find modules of iptables: %w", err)
		}
		for _, name := range iptablesModules() {
			at := path.Join(dir, name+".so")
			if _, err := os.Stat(filepath.Join(h.root, at)); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err := h.add(at, at); err != nil {
				return err
			}
		}
		return nil
	}
	return errors.New("find modules of iptables: no folder xtables among the libraries (install iptables 1.8 or later on this machine)")
}

// parents returns the folders that files lie in.
func parents(files []file) []file {
	var out []file
	seen := make(map[string]bool)
	for _, f := range files {
		for dir := path.Dir(f.path); dir != "." && !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			out = append(out, file{path: dir + "/", mode: 0o755})
		}
	}
	return out
}
