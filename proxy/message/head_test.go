// SPDX-License-Identifier: Apache-2.0

package message

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInformational(t *testing.T) {
	for _, tc := range []struct {
		kind   Kind
		status int
		want   bool
	}{
		{Response, 100, true},
		{Response, 102, true},
		{Response, 103, true},
		{Response, 199, true},
		{Response, 101, false},
		{Response, 99, false},
		{Response, 200, false},
		{Response, 500, false},
		{Response, 0, false},
		{Request, 100, false},
		{Trailers, 100, false},
	} {
		h := &Head{Kind: tc.kind, Status: tc.status}
		if got := h.Informational(); got != tc.want {
			t.Errorf("kind %d, status %d: %v", tc.kind, tc.status, got)
		}
	}
}

// newHead returns a stable head that has something in every member.
func newHead() *Head {
	return &Head{
		Kind: Response, Stable: true, Method: "m", Scheme: "s", Authority: "a", Path: "p", Protocol: "o",
		Status: 1, ContentLength: 2, GRPC: true,
		Fields: []*Field{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}, {Name: "a", Value: "3"}},
	}
}

func TestGet(t *testing.T) {
	h := newHead()
	for name, want := range map[string]string{"a": "1", "b": "2"} {
		if got, ok := h.Get(name); got != want || !ok {
			t.Errorf("Get(%q) = %q, %v, want %q", name, got, ok, want)
		}
	}
	for _, name := range []string{"", "c", "A"} {
		if got, ok := h.Get(name); got != "" || ok {
			t.Errorf("Get(%q) = %q, %v", name, got, ok)
		}
	}
	h.Fields[0].Value = ""
	if got, ok := h.Get("a"); got != "" || !ok {
		t.Errorf("Get of an empty one = %q, %v", got, ok)
	}
}

// TestCopyTo: a copy is equal, the caller's own, and costs nothing the second
// time.
func TestCopyTo(t *testing.T) {
	h := newHead()
	var dst Head
	h.CopyTo(&dst)
	want := newHead()
	want.Stable = false
	if diff := cmp.Diff(want, &dst); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if dst.Fields[0] != h.Fields[0] {
		t.Error("fields themselves were copied")
	}
	h.Fields[0] = &Field{Name: "next"}
	*h = Head{Fields: h.Fields[:1]}
	if diff := cmp.Diff(want, &dst); diff != "" {
		t.Errorf("the copy follows the original (-want +got):\n%s", diff)
	}
	h.CopyTo(&dst)
	if diff := cmp.Diff(h, &dst); diff != "" {
		t.Errorf("copied over another (-want +got):\n%s", diff)
	}
	h = newHead()
	if n := testing.AllocsPerRun(100, func() { h.CopyTo(&dst) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestWithout(t *testing.T) {
	names := func(h *Head) (out string) {
		for _, f := range h.Fields {
			out += f.Name
		}
		return out
	}
	for _, tc := range []struct {
		without []string
		want    string
	}{
		{[]string{"a"}, "b"},
		{[]string{"b"}, "aa"},
		{[]string{"a", "b"}, ""},
		{[]string{"c", "b", "d"}, "aa"},
		{[]string{"c"}, "aba"},
		{nil, "aba"},
	} {
		h := newHead()
		got := h.Without(tc.without...)
		if names(got) != tc.want {
			t.Errorf("Without(%q) has %q, want %q", tc.without, names(got), tc.want)
		}
		if diff := cmp.Diff(newHead(), h); diff != "" {
			t.Errorf("Without(%q) changed the original:\n%s", tc.without, diff)
		}
		if same := tc.want == "aba"; (got == h) != same || got.Stable != same {
			t.Errorf("Without(%q): original %v, stable %v", tc.without, got == h, got.Stable)
		}
		rest := *got
		rest.Stable, rest.Fields = true, h.Fields
		if diff := cmp.Diff(newHead(), &rest); diff != "" {
			t.Errorf("Without(%q) changed more than fields:\n%s", tc.without, diff)
		}
	}
}

func TestCodeString(t *testing.T) {
	for code, want := range map[Code]string{
		NoError: "NO_ERROR", FlowControlError: "FLOW_CONTROL_ERROR", RefusedStream: "REFUSED_STREAM", Cancel: "CANCEL",
		CompressionError: "COMPRESSION_ERROR", EnhanceYourCalm: "ENHANCE_YOUR_CALM", InadequateSecurity: "INADEQUATE_SECURITY",
		HTTP11Required: "HTTP_1_1_REQUIRED", 14: "unknown error code", 1<<32 - 1: "unknown error code",
	} {
		if got := code.String(); got != want {
			t.Errorf("Code(%d) is %s, want %s", uint32(code), got, want)
		}
	}
}

func TestIsGRPC(t *testing.T) {
	for contentType, want := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "application/grpc-web": true, "application/json": false, "": false,
	} {
		if got := IsGRPC(contentType); got != want {
			t.Errorf("%q: %t", contentType, got)
		}
	}
}
