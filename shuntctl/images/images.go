// SPDX-License-Identifier: Apache-2.0

// Package images packs Shunt's static binaries into container images without a
// container tool, and saves them as tarballs or pushes them to a registry. It
// reads the binaries' folder, and for one variant this machine's iptables, and
// writes files, or talks to the registry it is given; equal binaries give equal
// images, byte for byte.
package images

import (
	"fmt"
	"strings"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/version"
)

// DefaultRegistry is the prefix of our image names when no other is asked for.
// No host answers there: images that carry it have to be loaded into the nodes.
const DefaultRegistry = "shunt.dev"

// Spec says what one image holds.
type Spec struct {
	Name     string   // repository without registry, such as "dataplane"
	Binaries []string // names of static binaries, put in /usr/local/bin
	UID      int      // user and group that a container runs as unless its pod says otherwise
	Command  []string // entrypoint; none when the pod's spec names the command
	IPTables bool     // with the iptables of the machine that packs
}

// controlUID is the user of the control plane, "nonroot" in distroless images.
const controlUID = 65532

// Product returns the images of the product. The node's is needed where the nodes
// capture.
func Product() []Spec {
	return []Spec{
		{Name: "dataplane", Binaries: []string{"proxy", "redirect"}, UID: contract.ProxyUID},
		{Name: "controlplane", Binaries: []string{"webhook", "discovery"}, UID: controlUID},
		{Name: "node", Binaries: []string{"agent", "cni"}},
	}
}

// IPTables returns the variants for nodes without nf_tables, of the images that
// redirect. They hold programs of others, dynamically linked, and so need a
// machine of the same architecture that has them.
func IPTables() []Spec {
	var out []Spec
	for _, s := range Product() {
		if s.Name != "controlplane" {
			s.Name, s.IPTables = s.Name+"-iptables", true
			out = append(out, s)
		}
	}
	return out
}

// Ref returns the image's full name for a registry ("" is DefaultRegistry), such
// as "shunt.dev/dataplane:0.1.0".
func (s Spec) Ref(registry string) string {
	return Rebase(fmt.Sprintf("%s/%s:%s", DefaultRegistry, s.Name, version.Version), registry)
}

// Rebase replaces DefaultRegistry at the start of ref by registry; an empty
// registry and a ref of another registry leave ref as it is.
func Rebase(ref, registry string) string {
	name, ours := strings.CutPrefix(ref, DefaultRegistry+"/")
	if !ours || registry == "" {
		return ref
	}
	return strings.TrimSuffix(registry, "/") + "/" + name
}
