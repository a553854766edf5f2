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

// Product returns the images that an installation needs.
func Product() []Spec {
	return []Spec{
		{Name: "dataplane", Binaries: []string{"proxy", "redirect"}, UID: contract.ProxyUID},
		{Name: "controlplane", Binaries: []string{"webhook", "discovery"}, UID: controlUID},
	}
}

// IPTables returns the variant of the data plane's image for nodes without
// nf_tables. It holds programs of others, dynamically linked, and so needs a
// machine of the same architecture that has them.
func IPTables() Spec {
	return Spec{Name: "dataplane-iptables", Binaries: []string{"proxy", "redirect"}, UID: contract.ProxyUID, IPTables: true}
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
