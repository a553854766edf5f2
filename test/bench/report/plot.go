// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"

	"github.com/shuntmesh/shunt/test/bench/measure"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// plotted are the scenarios that the plot shows, where they were run.
func plotted() []string { return []string{"grpc.c8m10", "grpc.c50m1", "grpc.2krps", "http1"} }

// Sizes in pixels.
const (
	plotWidth  = 760
	labelWidth = 120
	valueWidth = 90
	barHeight  = 16
	barGap     = 5
	titleSpace = 34
	margin     = 16
)

const plotStyle = `<style>
text{font:13px system-ui,sans-serif;fill:#222}.title{font-weight:600}.value{font-variant-numeric:tabular-nums}
.bar{fill:#9aa5b1}.ours{fill:#1f7a5c}.spread{stroke:#222;stroke-width:1}
@media (prefers-color-scheme:dark){text{fill:#ddd}.bar{fill:#66717d}.ours{fill:#3fb68b}.spread{stroke:#ddd}}
</style>
`

// plot is bars of the CPU per request, one group per scenario, each in its own
// scale.
func (r *Result) plot() []byte {
	var body bytes.Buffer
	y := margin
	for _, name := range plotted() {
		for _, s := range r.Scenarios {
			if s.Name == name {
				y = s.bars(&body, y)
			}
		}
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="CPU per request, by proxy">`+"\n",
		plotWidth, y, plotWidth, y)
	out.WriteString(plotStyle)
	out.Write(body.Bytes())
	out.WriteString("</svg>\n")
	return out.Bytes()
}

// bars draws one group from y on, and returns where it ends.
func (s Scenario) bars(out *bytes.Buffer, y int) int {
	spreads := map[string]measure.Spread{}
	largest := 0.0
	for _, t := range s.Targets {
		if values := s.Values[t][scenario.CPU]; len(values) > 0 {
			spreads[t] = measure.NewSpread(values)
			largest = math.Max(largest, spreads[t].High)
		}
	}
	if largest == 0 {
		return y
	}
	fmt.Fprintf(out, `<text class="title" x="%d" y="%d">%s: CPU, &#181;s/request</text>`+"\n", margin, y+14, escape(s.About))
	y += titleSpace - 8
	scale := float64(plotWidth-2*margin-labelWidth-valueWidth) / largest
	for _, t := range s.Targets {
		v, ok := spreads[t]
		if !ok {
			continue
		}
		class, left := "bar", margin+labelWidth
		if t == scenario.Shunt {
			class = "ours"
		}
		fmt.Fprintf(out, `<text x="%d" y="%d" text-anchor="end">%s</text>`, left-8, y+13, escape(t))
		fmt.Fprintf(out, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, class, left, y, v.Median*scale, barHeight)
		fmt.Fprintf(out, `<path class="spread" d="M%.1f %dH%.1f"/>`, float64(left)+v.Low*scale, y+barHeight/2, float64(left)+v.High*scale)
		fmt.Fprintf(out, `<text class="value" x="%.1f" y="%d">%s</text>`+"\n", float64(left)+v.High*scale+6, y+13, number(v.Median))
		y += barHeight + barGap
	}
	return y + margin
}

func escape(text string) string {
	var out bytes.Buffer
	_ = xml.EscapeText(&out, []byte(text)) // a Buffer takes everything
	return out.String()
}
