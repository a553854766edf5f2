// SPDX-License-Identifier: Apache-2.0

package message

import (
	"strconv"
	"strings"
	"testing"
)

func TestInterner(t *testing.T) {
	var in Interner
	if f := in.Find([]byte("k")); f != nil {
		t.Fatalf("an empty interner has %+v", f)
	}
	f := &Field{Name: "n", Value: "v"}
	key := []byte("k")
	in.Add(key, f)
	key[0] = 'x' // the caller's again
	if f.Again {
		t.Error("Again before it was found")
	}
	if got := in.Find([]byte("k")); got != f {
		t.Errorf("found %+v", got)
	}
	if !f.Again {
		t.Error("not Again")
	}
	for _, other := range []string{"", "x", "K", "kk", "k\x00"} {
		if got := in.Find([]byte(other)); got != nil {
			t.Errorf("found %+v under %q", got, other)
		}
	}
}

// TestInternerForgets: what is found now and then stays, the rest goes after two
// generations.
func TestInternerForgets(t *testing.T) {
	for name, value := range map[string]string{
		"many":  "",
		"large": strings.Repeat("v", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			var in Interner
			often, unused := &Field{Name: "often"}, &Field{Name: "unused"}
			in.Add([]byte("often"), often)
			in.Add([]byte("unused"), unused)
			// One generation: neither is lost by being in the older half.
			added := 0
			for ; in.old == nil; added++ {
				in.Add([]byte(strconv.Itoa(added)), &Field{Value: value})
			}
			if limit := generationBytes/(len(value)+1) + 2; added > min(limit, generationFields) {
				t.Fatalf("a generation has %d fields", added)
			}
			if in.Find([]byte("often")) != often {
				t.Error("forgotten after one generation")
			}
			for i := range 10 * added {
				in.Add([]byte("more"+strconv.Itoa(i)), &Field{Value: value})
				if i%(added/2) == 0 && in.Find([]byte("often")) != often {
					t.Fatalf("forgotten after %d more, though in use", i)
				}
				if n := len(in.young) + len(in.old); n > 2*generationFields {
					t.Fatalf("%d fields", n)
				}
				if in.bytes > generationBytes+2000 {
					t.Fatalf("%d bytes", in.bytes)
				}
			}
			if in.Find([]byte("unused")) != nil {
				t.Error("kept without use")
			}
		})
	}
}

// TestInternerBytes: each part of a field counts.
func TestInternerBytes(t *testing.T) {
	long := strings.Repeat("x", generationBytes)
	for name, add := range map[string]func(in *Interner){
		"key":   func(in *Interner) { in.Add([]byte(long), &Field{}) },
		"name":  func(in *Interner) { in.Add([]byte("k"), &Field{Name: long}) },
		"value": func(in *Interner) { in.Add([]byte("k"), &Field{Value: long}) },
		"line":  func(in *Interner) { in.Add([]byte("k"), &Field{Line: long}) },
	} {
		var in Interner
		add(&in)
		in.Add([]byte("next"), &Field{})
		if len(in.old) != 1 || len(in.young) != 1 {
			t.Errorf("%s: a generation of %d bytes goes on", name, in.bytes)
		}
	}
}

func TestInternerAllocs(t *testing.T) {
	var in Interner
	in.Add([]byte("key"), &Field{})
	key := []byte("key")
	if n := testing.AllocsPerRun(100, func() { in.Find(key) }); n != 0 {
		t.Errorf("Find: %v allocations", n)
	}
}

func BenchmarkInternerFind(b *testing.B) {
	var in Interner
	key := []byte("accept-language: de-CH, de;q=0.9\r\n")
	in.Add(key, &Field{})
	for i := range 500 {
		in.Add([]byte(strconv.Itoa(i)), &Field{})
	}
	for b.Loop() {
		in.Find(key)
	}
}
