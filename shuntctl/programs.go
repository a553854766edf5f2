// SPDX-License-Identifier: Apache-2.0

package shuntctl

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/shuntctl/install"
)

// writePrograms tells of the nodes on which eBPF programs are loaded; where there
// are none, nothing.
func writePrograms(w io.Writer, agents []install.Agent, all bool) {
	agents = slices.DeleteFunc(slices.Clone(agents), func(a install.Agent) bool { return a.Says.EBPF == nil })
	if len(agents) == 0 {
		return
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	columns := []string{"NODE", "PROGRAMS", "PODS", "REFUSED", "LOST", "SELF-TEST", "OTHERS"}
	if all {
		columns = append(columns, "LAYOUT", "MAPS", "CONTROL GROUP", "CONNECTIONS")
	}
	fmt.Fprintln(tw, strings.Join(columns, "\t"))
	for _, a := range agents {
		p := a.Says.EBPF
		row := []string{
			a.Node, fmt.Sprintf("%d of %d", p.Attached(), len(p.Programs)), fmt.Sprint(p.Pods),
			fmt.Sprint(sum(p.Counters, "refused_")), fmt.Sprint(sum(p.Counters, "lost_")), p.SelfTest, strings.Join(p.Others, ", "),
		}
		if all {
			row = append(row, p.Layout, mapsOf(p), p.ControlGroup, counted(p.Counters))
		}
		for i, cell := range row {
			row[i] = cmp.Or(strings.Join(strings.Fields(cell), " "), "-") // a row is a line
		}
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	_ = tw.Flush() // stdout that is gone has no one to tell
}

// sum adds up the counters of a kind.
func sum(counters map[string]uint64, prefix string) (n uint64) {
	for name, v := range counters {
		if strings.HasPrefix(name, prefix) {
			n += v
		}
	}
	return n
}

// mapsOf says how many maps there are, and how much memory they take.
func mapsOf(p *contract.NodePrograms) string {
	var bytes uint64
	for _, m := range p.Maps {
		bytes += m.Bytes
	}
	return fmt.Sprintf("%d, %.1f MiB", len(p.Maps), float64(bytes)/(1<<20))
}

// counted lists the counters that are not 0.
func counted(counters map[string]uint64) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		if v := counters[name]; v > 0 {
			out = append(out, fmt.Sprintf("%s %d", name, v))
		}
	}
	return strings.Join(out, ", ")
}
