// SPDX-License-Identifier: Apache-2.0

package hpack

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/shuntmesh/shunt/proxy/message"
)

// again returns a field that came more than once.
func again(name, value string) *message.Field {
	return &message.Field{Name: name, Value: value, Again: true}
}

func once(name, value string) *message.Field { return &message.Field{Name: name, Value: value} }

// TestEncode holds the bytes of every representation.
func TestEncode(t *testing.T) {
	secret := again("x-token", "b")
	secret.Sensitive = true
	for _, tc := range []struct {
		name  string
		field *message.Field
		first string
		then  string
	}{
		{"static", again("accept-encoding", "gzip, deflate"), "90", "90"},
		{"static, once", once("accept-encoding", "gzip, deflate"), "90", "90"},
		{"static name, once", once("user-agent", "W"), "0f2b0157", "0f2b0157"},
		{"static name", again("user-agent", "W"), "7a0157", "be"},
		{"low static name", again(":authority", "W"), "410157", "be"},
		{"new name, once", once("a", "b"), "0001610162", "0001610162"},
		{"new name", again("a", "b"), "4001610162", "be"},
		{"Huffman", again("custom-key", "custom-value"), "408825a849e95ba97d7f8925a849e95bb8e8b4bf", "be"},
		{"no value", again("a", ""), "40016100", "be"},
		{"volatile", again("content-length", "1"), "0f0d0131", "0f0d0131"},
		{"volatile, but static", again("content-length", ""), "9c", "9c"},
		{"volatile, but empty", again("grpc-message", ""), "40899acac8b5254207317f00", "be"},
		{"volatile new name", again("x-b3-x", "1"), "0085f2b46cade70131", "0085f2b46cade70131"},
		{"sensitive name", again("cookie", "b"), "1f110162", "1f110162"},
		{"sensitive name of the static table", again("cookie", ""), "1f1100", "1f1100"},
		{"came never indexed", secret, "1086f2b24fd4b57f0162", "1086f2b24fd4b57f0162"},
		{"a share too large", again("a", strings.Repeat("\x00", 4096/4-32)), "400161", "400161"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := NewEncoder()
			var got [2]string
			for i := range got {
				before := e.Version()
				got[i] = hex.EncodeToString(e.Field(e.Begin(nil), tc.field))
				if inserted := got[i][0] >= '4' && got[i][0] < '8'; inserted != (before != e.Version()) {
					t.Errorf("version changed from %d to %d with %s", before, e.Version(), got[i])
				}
			}
			if len(got[0]) > 1000 {
				if got[0] != got[1] || got[0][0] != '0' {
					t.Errorf("entered the table")
				}
				return
			}
			if diff := cmp.Diff([2]string{tc.first, tc.then}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestEncodeEqual: another field of the same content is found, and so is a name.
func TestEncodeEqual(t *testing.T) {
	e := NewEncoder()
	e.Field(nil, again("a", "b"))
	e.Field(nil, again("c", "d"))
	for _, tc := range []struct {
		field *message.Field
		want  string
	}{
		{again("a", "b"), "bf"},
		{once("c", "d"), "be"},
		{once("a", "x"), "0f300178"},
		{again("c", "y"), "7e0179"},
		{again("a", "b"), "c0"},
		{again("user-agent", "u"), "7a0175"},
		{again("user-agent", "v"), "7a0176"}, // the static name, though there is a younger one
		{once("user-agent", "u"), "bf"},
	} {
		if got := hex.EncodeToString(e.Field(nil, tc.field)); got != tc.want {
			t.Errorf("%s: %s becomes %s, want %s", tc.field.Name, tc.field.Value, got, tc.want)
		}
	}
}

// TestPseudo: the static table, then the dynamic one.
func TestPseudo(t *testing.T) {
	e := NewEncoder()
	for _, tc := range []struct{ name, value, first, then string }{
		{":method", "GET", "82", "82"},
		{":method", "POST", "83", "83"},
		{":path", "/", "84", "84"},
		{":scheme", "http", "86", "86"},
		{":scheme", "https", "87", "87"},
		{":status", "200", "88", "88"},
		{":status", "500", "8e", "8e"},
		{":status", "\x01", "480101", "be"},
		{":method", "\x01", "420101", "be"},
		{":path", "\x01", "440101", "be"},
		{":authority", "\x01", "410101", "be"},
		{":protocol", "\x01", "4087b95d8749c87a3f0101", ""},
		{":protocol", "\x01", "be", "be"},
	} {
		for i, want := range []string{tc.first, tc.then} {
			if got := hex.EncodeToString(e.Pseudo(nil, tc.name, tc.value)); got != want && want != "" {
				t.Errorf("%d: %s: %q becomes %s, want %s", i, tc.name, tc.value, got, want)
			}
		}
	}
}

// TestSetMaxTable: the size updates of section 4.2.
func TestSetMaxTable(t *testing.T) {
	for _, tc := range []struct {
		name  string
		sizes []uint32
		want  string
		kept  bool
	}{
		{"nothing", nil, "", true},
		{"the default", []uint32{4096}, "", true},
		{"more than we use", []uint32{1 << 20}, "", true},
		{"all there is", []uint32{1<<32 - 1}, "", true},
		{"none", []uint32{0}, "20", false},
		{"fewer", []uint32{100}, "3f45", true},
		{"fewer and fewer", []uint32{100, 50}, "3f13", true},
		{"too few for the field", []uint32{33}, "3f02", false},
		{"none and back", []uint32{0, 4096}, "203fe11f", false},
		{"fewer and back", []uint32{100, 4096}, "3f453fe11f", true},
		{"fewer and part of the way back", []uint32{1000, 100, 200, 150}, "3f453f77", true},
		{"twice the same", []uint32{100, 100}, "3f45", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := NewEncoder()
			f := again("a", "b")
			e.Field(e.Begin(nil), f)
			stable := e.Version()
			for _, n := range tc.sizes {
				e.SetMaxTable(n)
			}
			pending := e.Version()
			if (pending != stable) != (tc.want != "") {
				t.Errorf("version was %d, is %d", stable, pending)
			}
			if got := hex.EncodeToString(e.Begin(nil)); got != tc.want {
				t.Errorf("Begin = %s, want %s", got, tc.want)
			}
			// The block with the updates must not be sent again.
			if (e.Version() != pending) != (tc.want != "") {
				t.Errorf("version was %d, is %d after Begin", pending, e.Version())
			}
			if got := e.Begin(nil); len(got) != 0 {
				t.Errorf("Begin once more = %x", got)
			}
			if _, kept := e.table.find(f); kept != tc.kept {
				t.Errorf("the field is in the table: %v", kept)
			}
		})
	}
}

// TestSetMaxTableUp: a table that grows says so, too.
func TestSetMaxTableUp(t *testing.T) {
	e := NewEncoder()
	for _, tc := range []struct {
		size uint32
		want string
	}{{100, "3f45"}, {200, "3fa901"}, {200, ""}, {1 << 20, "3fe11f"}, {0, "20"}} {
		e.SetMaxTable(tc.size)
		if got := hex.EncodeToString(e.Begin(nil)); got != tc.want {
			t.Errorf("%d: Begin = %s, want %s", tc.size, got, tc.want)
		}
	}
	if got := hex.EncodeToString(e.Field(nil, again("a", "b"))); got != "0001610162" {
		t.Errorf("without a table a field becomes %s", got)
	}
}

// TestFull: everything that a table has room for enters it, and nothing stays
// allocated for an empty one.
func TestFull(t *testing.T) {
	e := NewEncoder()
	e.SetMaxTable(4 * 34)
	e.Begin(nil)
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		e.Field(nil, again(name, "v"))
	}
	if diff := cmp.Diff([]string{"d: v", "c: v", "b: v", "a: v"}, lines(contents(&e.table))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	e.SetMaxTable(0)
	if e.table.ring != nil {
		t.Error("an empty table has a ring")
	}
}

// TestTurnover: a full table changes slowly.
func TestTurnover(t *testing.T) {
	e := NewEncoder()
	const blocks = 10 * turnover
	filled, changes := 0, 0
	for i := range blocks {
		dst := e.Begin(nil)
		for k := range 10 {
			before := e.Version()
			dst = e.Field(dst, again(fmt.Sprintf("name-%d", k), fmt.Sprintf("%0100d", i)))
			if e.Version() != before {
				changes++
			}
		}
		if i == 20 {
			filled = changes
		}
	}
	if entries := int(e.table.max) / fieldSize("name-0", strings.Repeat("0", 100)); filled != entries {
		t.Errorf("%d fields fill the table, want %d", filled, entries)
	}
	if turned := changes - filled; turned < blocks/turnover-2 || turned > blocks/turnover {
		t.Errorf("%d fields were replaced in %d blocks", turned, blocks)
	}
}

// TestPaths: paths that never come again have half of the table at most, and
// one that does gets in all the same.
func TestPaths(t *testing.T) {
	e := NewEncoder()
	for i := range 1000 {
		e.Pseudo(e.Begin(nil), ":path", fmt.Sprintf("/users/%d", i))
	}
	if e.table.size > e.table.max/2 || e.table.size < e.table.max/2-64 {
		t.Errorf("the table has %d bytes of paths", e.table.size)
	}
	before := e.Version()
	e.Pseudo(nil, ":path", "/often")
	if e.Version() != before {
		t.Error("in at first")
	}
	e.Pseudo(nil, ":path", "/often")
	if e.Version() == before {
		t.Error("not in when missed again")
	}
	if got := hex.EncodeToString(e.Pseudo(nil, ":path", "/often")); got != "be" {
		t.Errorf("then %s", got)
	}
}

// TestPseudoKeeps: the table has its own copy of a value.
func TestPseudoKeeps(t *testing.T) {
	e := NewEncoder()
	value := strings.Repeat("v", 100)[:10]
	e.Pseudo(nil, ":path", value)
	if f := e.table.at(0); f.Value != value || unsafe.StringData(f.Value) == unsafe.StringData(value) {
		t.Errorf("the table has %q, of the caller's memory", f.Value)
	}
}

// TestNature: names that are alike are not the same.
func TestNature(t *testing.T) {
	for name, want := range map[string]nature{
		"": ordinary, "content-type": ordinary, "grpc-status": ordinary, "user-agent": ordinary, "x-b3": ordinary,
		"grpc-encoding": ordinary, "cookie2": ordinary, ":path": ordinary, "te": ordinary,
		"grpc-timeout": volatile, "traceparent": volatile, "tracestate": volatile, "x-request-id": volatile,
		"content-length": volatile, "date": volatile, "grpc-message": volatile, "grpc-status-details-bin": volatile,
		"x-b3-traceid": volatile, "x-b3-": volatile, "etag": volatile,
		"authorization": sensitive, "cookie": sensitive, "set-cookie": sensitive, "proxy-authorization": sensitive,
	} {
		if got := natureOf(name, false); got != want {
			t.Errorf("natureOf(%q) = %d, want %d", name, got, want)
		}
		if want == volatile {
			want = ordinary
		}
		if got := natureOf(name, true); got != want {
			t.Errorf("natureOf(%q) without a value = %d, want %d", name, got, want)
		}
	}
}
