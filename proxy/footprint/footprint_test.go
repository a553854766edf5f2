// SPDX-License-Identifier: Apache-2.0

package footprint

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const smaps = `00400000-00c00000 r-xp 00000000 08:01 42                         /usr/local/bin/proxy
Size:               8192 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
00c00000-00d00000 r--p 00800000 08:01 42                         /usr/local/bin/proxy
Anonymous:             4 kB
00d00000-00e00000 rw-p 00900000 08:01 42                         /usr/local/bin/proxy
Anonymous:             0 kB
00e00000-00f00000 r--p 00a00000 08:01 42                         /usr/local/bin/proxy
Anonymous:             0 kB
7f0000000000-7f0000001000 r--p 00000000 08:01 43                 /lib/other
Anonymous:             0 kB
7ffc00000000-7ffc00002000 r-xp 00000000 00:00 0                  [vdso]
`

// TestCleanSpans: a page that relocation wrote would be lost, so its mapping
// stays.
func TestCleanSpans(t *testing.T) {
	got, err := cleanSpans(strings.NewReader(smaps), "/usr/local/bin/proxy")
	want := []span{{0x400000, 0xc00000}, {0xe00000, 0xf00000}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(span{})); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func FuzzCleanSpans(f *testing.F) {
	f.Add(smaps)
	f.Fuzz(func(t *testing.T, in string) {
		spans, err := cleanSpans(strings.NewReader(in), "/usr/local/bin/proxy")
		for _, s := range spans {
			if err == nil && s.to < s.from {
				t.Fatalf("%+v", s)
			}
		}
	})
}

// TestDropInit: the process lives on, and what it dropped comes back.
func TestDropInit(t *testing.T) {
	if err := DropInit(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile("/proc/self/smaps"); err != nil || len(b) == 0 {
		t.Error(err)
	}
}
