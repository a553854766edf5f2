// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/proxy"
)

var update = flag.Bool("update", false, "write the table of limits into docs/protocols.md")

// TestLimitsTable: the documents say what the code does.
func TestLimitsTable(t *testing.T) {
	const path, begin, end = "../docs/protocols.md", "<!-- limits -->\n", "<!-- end of limits -->"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s: no place for the table", path)
	}
	want := limitsTable()
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, table); diff != "" {
		t.Errorf("write it with: go test ./proxy -run TestLimitsTable -update (-code +docs)\n%s", diff)
	}
}

func limitsTable() string {
	o := proxy.DefaultOptions()
	var b strings.Builder
	b.WriteString("| limit | default | flag | what is limited | when it is hit |\n|---|---|---|---|---|\n")
	for _, l := range o.Limits() {
		fmt.Fprintf(&b, "| `%s` | %s | `--%s` | %s | %s |\n", l.Name, readable(l), l.Flag(), l.What, l.Hit)
	}
	return b.String()
}

// readable is a default as people write it.
func readable(l proxy.Limit) string {
	text := l.Value.String()
	if d, err := time.ParseDuration(text); err == nil && text != "0" {
		return strings.NewReplacer("m0s", "m", "h0m0s", "h").Replace(d.String())
	}
	n, _ := strconv.Atoi(text)
	switch {
	case !strings.HasSuffix(string(l.Name), "-bytes"):
		return text
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + " MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.Itoa(n>>10) + " KiB"
	}
	return text
}

// TestLimitsAreSet: every limit has a name of its own, takes its default, changes
// the options, and refuses what is no value with what is allowed.
func TestLimitsAreSet(t *testing.T) {
	o := proxy.DefaultOptions()
	seen := map[string]bool{}
	for _, l := range o.Limits() {
		if seen[l.Flag()] || l.What == "" || l.Hit == "" {
			t.Errorf("%s: its name is taken, or it says nothing", l.Name)
		}
		seen[l.Flag()] = true
		was := l.Value.String()
		if err := l.Value.Set(was); err != nil || l.Value.Check() != nil {
			t.Errorf("%s: the default is refused: %v, %v", l.Name, err, l.Value.Check())
		}
		other := "77777"
		if strings.HasSuffix(l.Flag(), "-timeout") {
			other = "77777ms"
		}
		before := fmt.Sprint(o)
		if err := l.Value.Set(other); err != nil || fmt.Sprint(o) == before {
			t.Errorf("%s: set to %s: %v, or nothing changed", l.Name, other, err)
		}
		for _, bad := range []string{"", "-1", "-1s", "some", "1e9", "99999999999999999999"} {
			if err := l.Value.Set(bad); err == nil || !strings.Contains(err.Error(), "(allowed: ") {
				t.Errorf("%s: set to %q: %v", l.Name, bad, err)
			}
		}
	}
}

// TestLimitsAreChecked: what a program sets is checked too.
func TestLimitsAreChecked(t *testing.T) {
	for want, change := range map[string]func(*proxy.Options){
		"option max-streams: 0 (allowed: 1 to 1048576)":                     func(o *proxy.Options) { o.HTTP2.MaxStreams = 0 },
		"option max-header-bytes: 1 (allowed: 1024 to 16777216)":            func(o *proxy.Options) { o.HTTP1.MaxHeaderBytes = 1 },
		"option close-timeout: -1s (allowed: 1ms or more)":                  func(o *proxy.Options) { o.CloseTimeout = -time.Second },
		"option max-output-bytes: 1048576 (allowed: twice max-unsent-bytes": func(o *proxy.Options) { o.MaxUnsent = 1 << 20 },
		"allow 1073741824 descriptors: the process was given":               func(o *proxy.Options) { o.MaxDescriptors = 1 << 30 },
	} {
		o := proxy.DefaultOptions()
		change(&o)
		if err := proxy.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
