// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"strings"

	"github.com/shuntmesh/shunt/redirect/backends"
)

// choice is the backend of a node: its name, "" where there is none, and in
// words why it is this one.
type choice struct {
	backend string
	reason  string
}

// choose takes what was asked for, a backend's name or backends.Auto, out of
// what was found by trying. A backend that was asked for and does not work is
// not replaced by another: who names one has a reason, and hears why not.
func choose(want string, found []backends.Detected) choice {
	var refused []string
	for _, d := range found {
		switch {
		case want == backends.Auto && d.Auto:
			return choice{d.Backend, strings.Join(append([]string{"the first that works here"}, refused...), "; ")}
		case want == d.Backend && d.Works:
			return choice{d.Backend, "asked for by --backend, and it works here"}
		case want == d.Backend:
			return choice{"", fmt.Sprintf("%s was asked for by --backend, and does not work here: %s", want, oneLine(d.Why))}
		case !d.Works:
			refused = append(refused, d.Backend+" does not: "+oneLine(d.Why))
		}
	}
	return choice{"", strings.Join(append([]string{"no backend works here"}, refused...), "; ")}
}

// maxWhy bounds what one backend has to say: all of it goes into an annotation.
const maxWhy = 300

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxWhy {
		s = strings.ToValidUTF8(s[:maxWhy], "") + " ..."
	}
	return s
}
