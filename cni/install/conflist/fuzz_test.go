// SPDX-License-Identifier: Apache-2.0

package conflist

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzInstall chains into any text, as a list and as a single configuration, and
// takes it out again: no panic, and nothing but our plugin may have changed.
func FuzzInstall(f *testing.F) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		f.Fatalf("%d cases: %v", len(cases), err)
	}
	for _, path := range cases {
		in, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range in.Files {
			f.Add(file.Data, isSingle(file.Name))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, single bool) {
		name := "10-a.conflist"
		if single {
			name = "10-a.conf"
		}
		begin := folder{name: string(text)}
		now := folder{name: string(text)}
		p, err := Install(now.files(), testEntry(t), "")
		now.apply(t, p)
		if err != nil {
			return
		}
		if p.Target == "" || !bytes.Contains([]byte(now[p.Target]), []byte(`"shunt-cni"`)) {
			t.Fatalf("%s is not chained: %s", p.Target, now[p.Target])
		}
		if p, err = Install(now.files(), testEntry(t), ""); err != nil || len(p.Steps) > 0 {
			t.Fatalf("the second install plans %d steps, %v", len(p.Steps), err)
		}
		p, _ = Uninstall(now.files())
		now.apply(t, p)
		if len(now) != 1 || now[name] != withoutOurs(t, begin, name) {
			t.Fatalf("%q comes back as %q", begin, now)
		}
	})
}

// withoutOurs is what has to be left: the text itself, but for plugins of ours that
// it came with.
func withoutOurs(t *testing.T, f folder, name string) string {
	t.Helper()
	if isSingle(name) {
		return f[name]
	}
	l, err := parse([]byte(f[name]))
	if err != nil {
		t.Fatal(err)
	}
	text, err := l.unchain()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
