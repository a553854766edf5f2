// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/shuntmesh/shunt/internal/contract"
)

// release is a version's first two numbers.
type release struct{ major, minor int }

func (r release) before(o release) bool {
	return r.major < o.major || r.major == o.major && r.minor < o.minor
}

// handsOver returns the first releases of runtimes that hand the pod's
// annotations to a plugin which asks for them (containerd's pull request 5026,
// CRI-O's 7342), by their names in a Node.
func handsOver() map[string]release {
	return map[string]release{"containerd": {1, 5}, "cri-o": {1, 29}}
}

// handover says whether the plugin hears of a pod from the runtime, by what the
// kubelet calls it, such as "containerd://2.2.0"; "" while that is not known.
// asked is that a plugin had to ask the agent, which beats what we know of
// versions.
func handover(runtime string, asked bool) string {
	name, text, _ := strings.Cut(runtime, "://")
	first, known := handsOver()[name]
	version, err := parseRelease(text)
	switch {
	case asked:
		return "fallback: the plugin was told of no annotations, and asks the agent"
	case runtime == "":
		return "unknown: the Node has not been read yet"
	case !known:
		return fmt.Sprintf("unknown: nothing is known of %q; the plugin asks the agent where it must", runtime)
	case err != nil:
		return fmt.Sprintf("unknown: the version in %q can't be read; the plugin asks the agent where it must", runtime)
	case version.before(first):
		return fmt.Sprintf("fallback: %s hands over annotations from %d.%d on, and this is %s; the plugin asks the agent", name, first.major, first.minor, text)
	default:
		return contract.NodeHandedOver
	}
}

func parseRelease(text string) (r release, err error) {
	parts := strings.SplitN(strings.TrimPrefix(text, "v"), ".", 3)
	if len(parts) < 2 {
		return release{}, fmt.Errorf("version %q has no two numbers", text)
	}
	if r.major, err = strconv.Atoi(parts[0]); err != nil {
		return release{}, err
	}
	minor, _, _ := strings.Cut(parts[1], "-") // 2.3-rc.1
	if r.minor, err = strconv.Atoi(minor); err != nil {
		return release{}, err
	}
	return r, nil
}
