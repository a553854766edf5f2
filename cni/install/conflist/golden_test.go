// SPDX-License-Identifier: Apache-2.0

package conflist

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/shuntmesh/shunt/cni/conf"
)

var update = flag.Bool("update", false, "write the golden files")

// folder is what a plan is applied to.
type folder map[string]string

func (f folder) files() []File {
	var files []File
	for _, name := range slices.Sorted(maps.Keys(f)) {
		files = append(files, File{Name: name, Mode: 0o640, Content: []byte(f[name])})
	}
	return files
}

// apply does a plan's steps, and looks after each whether a runtime would find a
// configuration, if it did before.
func (f folder) apply(t *testing.T, p Plan) {
	t.Helper()
	before, beforeErr := newDir(f.files()).choose("")
	for _, s := range p.Steps {
		content, exists := f[s.Name]
		if exists != (s.Was != nil) || content != string(s.Was) {
			t.Errorf("step %s %s expects %q, the file is %q (exists: %v)", verb(s.Do), s.Name, s.Was, content, exists)
		}
		switch s.Do {
		case Put:
			if s.Mode != 0o640 {
				t.Errorf("step for %s has mode %v", s.Name, s.Mode)
			}
			f[s.Name] = string(s.Content)
		case Move:
			f[s.To] = content
			delete(f, s.Name)
		case Remove:
			delete(f, s.Name)
		}
		during, err := newDir(f.files()).choose("")
		if beforeErr == nil && (err != nil || networkOf(t, during) != networkOf(t, before)) {
			t.Errorf("after step %s %s a runtime would use %q, %v; before it used %s", verb(s.Do), s.Name, during.file.Name, err, before.file.Name)
		}
	}
}

func networkOf(t *testing.T, c choice) string {
	t.Helper()
	l, err := parse(c.text)
	if err != nil {
		t.Fatal(err)
	}
	return l.name
}

func verb(a Action) string { return [...]string{Put: "put", Move: "move", Remove: "remove"}[a] }

func testEntry(t *testing.T) []byte {
	t.Helper()
	e := conf.Default()
	e.Backend = "nftables"
	entry, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

func describe(b *strings.Builder, title string, p Plan, err error) {
	fmt.Fprintf(b, "%s: target %q, chained before: %v, error: %v\n", title, p.Target, p.Chained, err)
	for _, s := range p.Skipped {
		fmt.Fprintf(b, "  skipped %s: %v\n", s.Name, s.Reason)
	}
	for _, s := range p.Steps {
		fmt.Fprintf(b, "  %s %s", verb(s.Do), s.Name)
		if s.To != "" {
			fmt.Fprintf(b, " to %s", s.To)
		}
		fmt.Fprintln(b)
	}
}

// TestGolden installs into each folder of testdata, and uninstalls from it.
func TestGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) < 20 {
		t.Fatalf("%d cases: %v", len(cases), err)
	}
	for _, path := range cases {
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		t.Run(name, func(t *testing.T) {
			in, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := installAndUninstall(t, in)
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func installAndUninstall(t *testing.T, in *txtar.Archive) []byte {
	t.Helper()
	begin := make(folder)
	for _, f := range in.Files {
		begin[strings.TrimPrefix(f.Name, "in/")] = string(f.Data)
	}
	out := &txtar.Archive{}
	var report strings.Builder
	f := maps.Clone(begin)
	p, err := Install(f.files(), testEntry(t), "")
	describe(&report, "install", p, err)
	f.apply(t, p)
	again, _ := Install(f.files(), testEntry(t), "")
	if len(again.Steps) > 0 || again.Target != p.Target || again.Chained != (again.Target != "") {
		t.Errorf("the second install plans %+v", again)
	}
	out.Files = append(out.Files, changed("installed", begin, f)...)

	p, err = Uninstall(f.files())
	describe(&report, "uninstall", p, err)
	f.apply(t, p)
	if again, _ := Uninstall(f.files()); len(again.Steps) > 0 {
		t.Errorf("the second uninstall plans %+v", again)
	}
	out.Files = append(out.Files, changed("uninstalled", begin, f)...)
	out.Comment = []byte(report.String())
	return txtar.Format(out)
}

// changed lists the files that differ from the beginning.
func changed(prefix string, begin, now folder) []txtar.File {
	var files []txtar.File
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if was, ok := begin[name]; !ok || was != now[name] {
			files = append(files, txtar.File{Name: prefix + "/" + name, Data: []byte(now[name])})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(begin)) {
		if _, ok := now[name]; !ok {
			files = append(files, txtar.File{Name: prefix + "/" + name + " (gone)"})
		}
	}
	return files
}

// TestNetwork chooses by the network's name, as CRI-O's cni_default_network does.
func TestNetwork(t *testing.T) {
	f := folder{
		"00-half.conf":     `{"name": "b"`,
		"10-a.conflist":    `{"name": "a", "cniVersion": "0.2.0", "plugins": [{"type": "bridge"}]}`,
		"20-b.conf":        `{"name": "b", "cniVersion": "1.0.0", "type": "bridge"}`,
		"30-b-2.conflist":  `{"name": "b", "cniVersion": "1.0.0", "plugins": [{"type": "ptp"}]}`,
		"40-old.conflist":  `{"name": "old", "plugins": [{"type": "ptp"}]}`,
		"50-last.conflist": `{"name": "last", "cniVersion": "1.0.0", "plugins": [{"type": "ptp"}]}`,
	}
	tests := []struct{ network, target, err string }{
		{"", "", "10-a.conflist can't be chained into"},
		{"b", "20-b.conflist", ""},
		{"old", "", "40-old.conflist can't be chained into"},
		{"last", "50-last.conflist", ""},
		{"none", "", `there is no CNI configuration yet of the network "none"`},
	}
	for _, tt := range tests {
		p, err := Install(f.files(), testEntry(t), tt.network)
		if p.Target != tt.target || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("network %q: target %q, %v; want %q, %q", tt.network, p.Target, err, tt.target, tt.err)
		}
	}
}

// TestProblem: what the runtime can't read is passed over, what only we can't is
// an error.
func TestProblem(t *testing.T) {
	good := File{Name: "20-b.conflist", Content: []byte(`{"name":"b","cniVersion":"1.0.0","plugins":[{"type":"ptp"}]}`)}
	p, err := Install([]File{{Name: "10-a.conflist", Problem: os.ErrPermission}, good}, testEntry(t), "")
	if err != nil || p.Target != good.Name || len(p.Skipped) != 1 {
		t.Errorf("an unreadable file: %+v, %v", p, err)
	}
	p, err = Install([]File{{Name: "10-a.conflist", Problem: fmt.Errorf("%w: it is big", ErrUnsupported)}, good}, testEntry(t), "")
	if err == nil || p.Target != "" || err.Error() != "10-a.conflist can't be chained into: it is big" {
		t.Errorf("a file that is too big: %+v, %v", p, err)
	}
}

// TestEntryText: an entry is written as its neighbours are, and taking it out gives
// back the same bytes.
func TestEntryText(t *testing.T) {
	for _, text := range []string{
		`{"name":"a","cniVersion":"1.0.0","plugins":[{"type":"x"}]}`,
		`{"name":"a","cniVersion":"1.0.0","plugins":[ {"type":"x"} , {"type":"y"} ]}`,
		"{\"name\":\"a\",\"cniVersion\":\"1.0.0\",\"plugins\":[\r\n\t{\"type\":\"x\"}\r\n]}\r\n",
		"\n\t{\"name\":\"a\\u0022\",\"cniVersion\":\"1.0.0\",\"plugins\"\n:\n[\n{\"type\":\"x\",\"n\":12345678901234567890.10}\n,\n{\"type\":\"\\u0078\"}\n]\n,\"z\":\"\\ud800\"}",
		"{\"name\":\"a\",\"cniVersion\":\"1.0.0\",\"plugins\":[ {\"type\":\"x\"}\n\t, {\"type\":\"y\"}\n]}",
	} {
		l, err := parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		chained, err := l.chain(testEntry(t))
		if err != nil {
			t.Fatal(err)
		}
		if l, err = parse(chained); err != nil || !l.has(testEntry(t)) {
			t.Fatalf("%s becomes %s: %v", text, chained, err)
		}
		back, err := l.unchain()
		if err != nil || !bytes.Equal(back, []byte(text)) {
			t.Errorf("%q comes back as %q, %v", text, back, err)
		}
	}
}
