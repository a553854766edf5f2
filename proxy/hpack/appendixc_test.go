// SPDX-License-Identifier: Apache-2.0

package hpack

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	xhpack "golang.org/x/net/http2/hpack"

	"github.com/shuntmesh/shunt/proxy/message"
)

// step is one block of an example, what it says, and the table after it.
type step struct {
	block string
	list  []string
	table []string
	size  uint32
}

const (
	cookie1 = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
	date21  = "date: Mon, 21 Oct 2013 20:13:21 GMT"
	date22  = "date: Mon, 21 Oct 2013 20:13:22 GMT"
	example = "location: https://www.example.com"
	private = "cache-control: private"
	noCache = "cache-control: no-cache"
	www     = ":authority: www.example.com"
	custom  = "custom-key: custom-value"
)

// requests and responses are what appendices C.3 to C.6 say, in other bytes.
func requests(blocks ...string) []step {
	return []step{
		{blocks[0], []string{":method: GET", ":scheme: http", ":path: /", www}, []string{www}, 57},
		{blocks[1], []string{":method: GET", ":scheme: http", ":path: /", www, noCache}, []string{noCache, www}, 110},
		{blocks[2], []string{":method: GET", ":scheme: https", ":path: /index.html", www, custom}, []string{custom, noCache, www}, 164},
	}
}

func responses(blocks ...string) []step {
	return []step{
		{blocks[0], []string{":status: 302", private, date21, example}, []string{example, date21, private, ":status: 302"}, 222},
		{blocks[1], []string{":status: 307", private, date21, example}, []string{":status: 307", example, date21, private}, 222},
		{
			blocks[2],
			[]string{":status: 200", private, date22, example, "content-encoding: gzip", cookie1},
			[]string{cookie1, "content-encoding: gzip", date22},
			215,
		},
	}
}

func TestAppendixC(t *testing.T) {
	for _, tc := range []struct {
		name  string
		max   uint32
		steps []step
	}{
		{"C.2.1", 4096, []step{{
			"400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
			[]string{"custom-key: custom-header"},
			[]string{"custom-key: custom-header"},
			55,
		}}},
		{"C.2.2", 4096, []step{{"040c 2f73 616d 706c 652f 7061 7468", []string{":path: /sample/path"}, nil, 0}}},
		{"C.2.3", 4096, []step{{"1008 7061 7373 776f 7264 0673 6563 7265 74", []string{"password: secret (sensitive)"}, nil, 0}}},
		{"C.2.4", 4096, []step{{"82", []string{":method: GET"}, nil, 0}}},
		{"C.3", 4096, requests(
			"8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
			"8286 84be 5808 6e6f 2d63 6163 6865",
			"8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
		)},
		{"C.4", 4096, requests(
			"8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
			"8286 84be 5886 a8eb 1064 9cbf",
			"8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
		)},
		{"C.5", 256, responses(
			`4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32
			3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
			"4803 3330 37c1 c0bf",
			`88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970
			7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61
			6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31`,
		)},
		{"C.6", 256, responses(
			`4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad
			1718 63c7 8f0b 97c8 e9ae 82ae 43d3`,
			"4883 640e ffc1 c0bf",
			`88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2
			e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
		)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDecoder()
			d.table.resize(tc.max)
			for i, s := range tc.steps {
				list, err := d.Decode(nil, unhex(t, s.block))
				if err != nil {
					t.Fatalf("block %d: %v", i, err)
				}
				if diff := cmp.Diff(s.list, lines(list)); diff != "" {
					t.Errorf("block %d is other fields (-want +got):\n%s", i, diff)
				}
				if diff := cmp.Diff(s.table, lines(contents(&d.table))); diff != "" {
					t.Errorf("the table is another after block %d (-want +got):\n%s", i, diff)
				}
				if d.table.size != s.size {
					t.Errorf("the table has %d bytes after block %d, want %d", d.table.size, i, s.size)
				}
			}
		})
	}
}

// newDecoder returns one with the sizes that most tests want.
func newDecoder() *Decoder { return NewDecoder(new(message.Interner), 4096, 1<<20) }

// lines writes fields for people, without what Decode may add: sensitive ones
// are marked only where the name does not say so.
func lines(list []*message.Field) []string {
	var out []string
	for _, f := range list {
		s := f.Name + ": " + f.Value
		if f.Sensitive && natureOf(f.Name, false) != sensitive {
			s += " (sensitive)"
		}
		out = append(out, s)
	}
	return out
}

func contents(t *table) []*message.Field {
	var list []*message.Field
	for i := range t.entries {
		list = append(list, t.at(i))
	}
	return list
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatalf("bad test: %v", err)
	}
	return b
}

// TestStatic holds the static table against that of x/net and its own index.
func TestStatic(t *testing.T) {
	lowest := map[string]uint32{}
	for i := uint32(1); i < uint32(len(static)); i++ {
		f := static[i]
		if lowest[f.Name] == 0 {
			lowest[f.Name] = i
		}
		if got, equal := searchStatic(f.Name, f.Value); got != i || !equal {
			t.Errorf("searchStatic(%q, %q) = %d, %v, want %d", f.Name, f.Value, got, equal, i)
		}
		if got, equal := searchStatic(f.Name, "another"); got != lowest[f.Name] || equal {
			t.Errorf("searchStatic(%q, another) = %d, %v, want %d", f.Name, got, equal, lowest[f.Name])
		}
		theirs, err := xhpack.NewDecoder(4096, nil).DecodeFull([]byte{indexed | byte(i)})
		if err != nil || cmp.Diff(theirLines(theirs), lines([]*message.Field{&f})) != "" {
			t.Errorf("%d is %s: %q, they say %q, %v", i, f.Name, f.Value, theirs, err)
		}
		if ours, err := newDecoder().Decode(nil, []byte{indexed | byte(i)}); err != nil || ours[0] != &static[i] {
			t.Errorf("%d becomes %q, %v", i, lines(ours), err)
		}
		if f.Sensitive != (natureOf(f.Name, false) == sensitive) {
			t.Errorf("%s: Sensitive is %v", f.Name, f.Sensitive)
		}
		if !f.Again {
			t.Errorf("%s: not Again, so that a worker would write to what all share", f.Name)
		}
	}
	if n := len(slices.Concat(staticNames[:]...)); n != len(lowest) {
		t.Errorf("staticNames has %d names, want %d", n, len(lowest))
	}
	for _, name := range []string{"", "x", "grpc-status", strings.Repeat("n", 100)} {
		if i, _ := searchStatic(name, ""); i != 0 {
			t.Errorf("searchStatic(%q) = %d", name, i)
		}
	}
}

// TestInteger holds the vectors of appendix C.1 and the limits.
func TestInteger(t *testing.T) {
	for _, tc := range []struct {
		in   string
		bits uint
		want uint32
		err  error
	}{
		{"0a", 5, 10, nil},          // C.1.1
		{"1f9a0a", 5, 1337, nil},    // C.1.2
		{"2a", 8, 42, nil},          // C.1.3
		{"1e", 5, 30, nil},          // the last without octets
		{"1f00", 5, 31, nil},        // the first with
		{"ff80808000", 7, 127, nil}, // leading zeros that 32 bits have room for
		{"1fe0ffffff0f", 5, 1<<32 - 1, nil},
		{"1fe1ffffff0f", 5, 0, errInteger},
		{"ffffffffff7f", 7, 0, errInteger},
		{"ff808080808000", 7, 0, errInteger}, // more zeros than that
		{"ffffffffffffffffffffffffffff00", 7, 0, errInteger},
		{"", 7, 0, errTruncated},
		{"ff", 7, 0, errTruncated},
		{"1f80", 5, 0, errTruncated},
		{"1f8080808080", 5, 0, errTruncated},
	} {
		n, rest, err := readInteger(unhex(t, tc.in), tc.bits)
		if n != tc.want || !errors.Is(err, tc.err) || len(rest) != 0 {
			t.Errorf("readInteger(%s, %d) = %d, %x, %v, want %d, %v", tc.in, tc.bits, n, rest, err, tc.want, tc.err)
		}
	}
	for _, n := range []uint32{0, 1, 14, 15, 16, 30, 31, 126, 127, 128, 254, 255, 1337, 16384, 1<<28 + 1, 1<<32 - 1} {
		for bits := uint(4); bits <= 7; bits++ {
			p := appendInteger(nil, 0, bits, n)
			if got, rest, err := readInteger(append(p, 0xaa), bits); got != n || len(rest) != 1 || err != nil {
				t.Errorf("%d in %d bits becomes %x, and that %d, %v", n, bits, p, got, err)
			}
		}
	}
	if got := fmt.Sprintf("%x", appendInteger(nil, 0, 5, 1337)); got != "1f9a0a" {
		t.Errorf("1337 becomes %s", got)
	}
}
