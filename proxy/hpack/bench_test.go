// SPDX-License-Identifier: Apache-2.0

package hpack

import (
	"strconv"
	"testing"

	xhpack "golang.org/x/net/http2/hpack"

	"github.com/shuntmesh/shunt/proxy/message"
)

// grpcRequest is what grpc-go sends with every call, but for its deadline.
var grpcRequest = [][2]string{
	{":method", "POST"},
	{":scheme", "http"},
	{":path", "/shop.v1.Catalogue/ListProducts"},
	{":authority", "catalogue.shop.svc.cluster.local:8080"},
	{"content-type", "application/grpc"},
	{"user-agent", "grpc-go/1.85.0"},
	{"te", "trailers"},
	{"x-tenant", "acme"},
}

// indexing are blocks as Go's clients write them: everything enters the table.
func indexing(n int) [][]byte {
	var blocks [][]byte
	var w blockWriter
	e := xhpack.NewEncoder(&w)
	for range n {
		w = nil
		for _, f := range grpcRequest {
			_ = e.WriteField(xhpack.HeaderField{Name: f[0], Value: f[1]})
		}
		blocks = append(blocks, w)
	}
	return blocks
}

type blockWriter []byte

func (w *blockWriter) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

// literals is a block of a peer that never uses the table.
func literals() []byte {
	var p []byte
	for _, f := range grpcRequest {
		i, equal := searchStatic(f[0], f[1])
		if equal {
			p = appendIndexed(p, i)
			continue
		}
		p = appendText(appendName(p, unindexed, literalBits, i, f[0]), f[1])
	}
	return p
}

// TestDecodeAllocs: a list that was seen before costs no memory.
func TestDecodeAllocs(t *testing.T) {
	blocks := indexing(2)
	for _, tc := range []struct {
		name        string
		first, then []byte
	}{
		{"indexed", blocks[0], blocks[1]},
		{"literals", literals(), literals()},
		{"incremental", blocks[0], blocks[0]},
	} {
		d := newDecoder()
		dst := make([]*message.Field, 0, 16)
		if _, err := d.Decode(dst, tc.first); err != nil {
			t.Fatal(err)
		}
		for range 200 { // until the ring has grown
			d.Decode(dst, tc.then)
		}
		n := testing.AllocsPerRun(100, func() {
			if list, err := d.Decode(dst, tc.then); err != nil || len(list) != len(grpcRequest) {
				t.Fatalf("%q, %v", lines(list), err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", tc.name, n)
		}
	}
}

// TestVolatileAllocs: values that never come again cost no memory that counts,
// whether the peer puts them into the table or not.
func TestVolatileAllocs(t *testing.T) {
	var w blockWriter
	e := xhpack.NewEncoder(&w)
	plain, incremental, values := make([][]byte, 2000), make([][]byte, 2000), make([]string, 2000)
	for i := range plain {
		value := strconv.Itoa(1000000+i) + "u"
		values[i] = value
		plain[i] = appendText(appendName(nil, unindexed, literalBits, 0, "grpc-timeout"), value)
		w = nil
		_ = e.WriteField(xhpack.HeaderField{Name: "grpc-timeout", Value: value})
		incremental[i] = w
	}
	for name, blocks := range map[string][][]byte{"plain": plain, "incremental": incremental} {
		d, next := newDecoder(), 0
		dst := make([]*message.Field, 0, 16)
		decode := func() {
			list, err := d.Decode(dst, blocks[next])
			if err != nil || len(list) != 1 || list[0].Value != values[next] {
				t.Fatalf("%q, %v", lines(list), err)
			}
			next++
		}
		for range 500 { // until the ring has grown
			decode()
		}
		if n := testing.AllocsPerRun(1000, decode); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// encodeList writes the list as h2 does.
func encodeList(e *Encoder, dst []byte, fields []*message.Field) []byte {
	dst = e.Begin(dst)
	for _, f := range grpcRequest[:4] {
		dst = e.Pseudo(dst, f[0], f[1])
	}
	for _, f := range fields {
		dst = e.Field(dst, f)
	}
	return dst
}

func grpcFields() []*message.Field {
	var fields []*message.Field
	for _, f := range grpcRequest[4:] {
		fields = append(fields, again(f[0], f[1]))
	}
	return fields
}

// TestEncodeAllocs: the same of writing, with a table and without.
func TestEncodeAllocs(t *testing.T) {
	for _, size := range []uint32{4096, 0} {
		e := NewEncoder()
		e.SetMaxTable(size)
		dst := make([]byte, 0, 1024)
		fields := append(grpcFields(), once("grpc-timeout", "999921u"), once("x-user", "42"))
		encodeList(e, dst, fields)
		version := e.Version()
		if n := testing.AllocsPerRun(100, func() { encodeList(e, dst, fields) }); n != 0 {
			t.Errorf("table of %d: %v allocations", size, n)
		}
		if e.Version() != version {
			t.Errorf("table of %d: still changing", size)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	blocks := indexing(2)
	for _, bc := range []struct {
		name        string
		first, then []byte
	}{{"indexed", blocks[0], blocks[1]}, {"literals", literals(), literals()}, {"incremental", blocks[0], blocks[0]}} {
		b.Run(bc.name, func(b *testing.B) {
			d := newDecoder()
			dst := make([]*message.Field, 0, 16)
			d.Decode(dst, bc.first)
			b.ReportAllocs()
			for b.Loop() {
				d.Decode(dst, bc.then)
			}
		})
		b.Run(bc.name+"/x-net", func(b *testing.B) {
			d := xhpack.NewDecoder(4096, nil)
			d.DecodeFull(bc.first)
			d.SetEmitFunc(func(xhpack.HeaderField) {})
			b.ReportAllocs()
			for b.Loop() {
				d.Write(bc.then)
				d.Close()
			}
		})
	}
	b.Run("timeout", func(b *testing.B) { // a literal that is never interned
		d := newDecoder()
		dst := make([]*message.Field, 0, 16)
		p := appendText(appendText([]byte{incremental}, "grpc-timeout"), "999921u")
		b.ReportAllocs()
		for b.Loop() {
			d.Decode(dst, p)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	run := func(name string, crowd int, fields []*message.Field) {
		b.Run(name, func(b *testing.B) {
			e := NewEncoder()
			dst := encodeList(e, nil, fields)
			for i := range crowd {
				e.Field(nil, again("x-crowd", string(rune('0'+i))))
			}
			b.ReportAllocs()
			for b.Loop() {
				dst = encodeList(e, dst[:0], fields)
			}
		})
	}
	run("indexed", 0, grpcFields())
	run("indexed behind 40", 40, grpcFields())
	var firsts []*message.Field
	for _, f := range grpcRequest[4:] {
		firsts = append(firsts, once(f[0], f[1]))
	}
	run("literals", 0, firsts)
	run("timeout", 0, append(grpcFields(), once("grpc-timeout", "999921u")))
	b.Run("x-net", func(b *testing.B) {
		var w blockWriter
		e := xhpack.NewEncoder(&w)
		b.ReportAllocs()
		for b.Loop() {
			w = w[:0]
			for _, f := range grpcRequest {
				e.WriteField(xhpack.HeaderField{Name: f[0], Value: f[1]})
			}
		}
	})
}
