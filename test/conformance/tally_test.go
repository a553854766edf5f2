// SPDX-License-Identifier: Apache-2.0

//go:build conformance

package conformance

import (
	"bufio"
	"bytes"
	"regexp"
	"strconv"
	"testing"

	"github.com/shuntmesh/shunt/proxy/sidecartest"
	"github.com/shuntmesh/shunt/proxy/stats"
)

// tally is what a sidecar has counted in one direction.
type tally struct {
	ok      map[stats.Kind]int // requests that were answered with 2xx
	other   int                // requests that were answered otherwise
	errors  map[string]int     // what the sidecar itself ended, by reason
	relayed int                // connections that it did not read
}

var sample = regexp.MustCompile(`^shunt_proxy_(\w+)\{direction="(\w+)",(.*)\} (\d+)$`)

func tallyOf(t *testing.T, p *sidecartest.Proxy, d stats.Direction) tally {
	t.Helper()
	var text bytes.Buffer
	p.Options.Stats.WritePrometheus(&text)
	out := tally{ok: map[stats.Kind]int{}, errors: map[string]int{}}
	lines := bufio.NewScanner(&text)
	for lines.Scan() {
		f := sample.FindStringSubmatch(lines.Text())
		if f == nil || f[2] != string(d) {
			continue
		}
		n, err := strconv.Atoi(f[4])
		if err != nil {
			t.Fatal(err)
		}
		out.add(f[1], f[3], n)
	}
	return out
}

var (
	protocolLabel = regexp.MustCompile(`protocol="(\w+)"`)
	okLabel       = regexp.MustCompile(`class="2xx"`)
	reasonLabel   = regexp.MustCompile(`reason="([^"]+)"`)
	tcpLabel      = regexp.MustCompile(`kind="tcp"`)
)

func (c *tally) add(metric, labels string, n int) {
	switch {
	case metric == "requests_total" && okLabel.MatchString(labels):
		c.ok[stats.Kind(protocolLabel.FindStringSubmatch(labels)[1])] += n
	case metric == "requests_total":
		c.other += n
	case metric == "errors_total":
		c.errors[reasonLabel.FindStringSubmatch(labels)[1]] += n
	case metric == "connections_opened_total" && tcpLabel.MatchString(labels):
		c.relayed += n
	}
}

// less is what was counted since.
func (c tally) less(before tally) tally {
	return tally{
		ok: since(c.ok, before.ok), other: c.other - before.other, errors: since(c.errors, before.errors), relayed: c.relayed - before.relayed,
	}
}

func since[K comparable](after, before map[K]int) map[K]int {
	out := map[K]int{}
	for k, n := range after {
		if n != before[k] {
			out[k] = n - before[k]
		}
	}
	return out
}
