// SPDX-License-Identifier: Apache-2.0

package hpack

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	xhpack "golang.org/x/net/http2/hpack"

	"github.com/shuntmesh/shunt/proxy/message"
)

// FuzzDecode reads the same blocks as x/net does: the verdicts are the same, and
// so are the fields. The input is blocks, each behind an octet of its length.
func FuzzDecode(f *testing.F) {
	for _, blocks := range [][]string{
		{"82", "be", "80"},
		{"8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", "8286 84be 5886 a8eb 1064 9cbf", "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf"},
		{"20 3f e1 1f 4001610162", "3f 09 3f e1 1f be", "4001610162 0f2f0163 be"},
		{"4001610162", "4001630164", "3f1d 20 3f1d 82", "be"},
		{"1008 7061 7373 776f 7264 0673 6563 7265 74", "60 0162", "a0", "be"},
		{"040181", "0481ff", "82 20", "ff80808080808000"},
		{"5f87 497ca589d34d1f", "be", "5f87 497ca589d34d1f be bf c0"},
	} {
		var seed []byte
		for _, b := range blocks {
			p := unhex(f, b)
			seed = append(append(seed, byte(len(p))), p...)
		}
		f.Add(seed, uint16(4096))
		f.Add(seed, uint16(64))
	}
	f.Fuzz(func(t *testing.T, data []byte, limit uint16) {
		in := new(message.Interner)
		theirs := &oracle{xhpack.NewDecoder(4096, nil)}
		theirs.SetAllowedMaxDynamicTableSize(uint32(limit))
		ours := NewDecoder(in, int(limit), 1<<40)
		tight := NewDecoder(in, int(limit), 100)
		for len(data) > 0 {
			n := min(int(data[0]), len(data)-1)
			block := data[1 : 1+n]
			data = data[1+n:]
			if !sameVerdict(t, ours, theirs, tight, block) {
				return
			}
		}
	})
}

// sameVerdict decodes a block with all three and tells whether they can go on.
func sameVerdict(t *testing.T, ours *Decoder, theirs *oracle, tight *Decoder, block []byte) bool {
	t.Helper()
	before := ours.Version()
	list, err := ours.Decode(nil, block)
	want, wantErr := theirs.decode(block)
	switch {
	case errors.Is(err, errInteger):
		return false // they allow up to nine octets
	case errors.Is(err, errUpdatePlace):
		return false // they allow it anywhere while the table is empty
	case (err == nil) != (wantErr == nil):
		t.Fatalf("Decode(%x) = %v, they say %v", block, err, wantErr)
	case err != nil:
		if _, tightErr := tight.Decode(nil, block); !errors.Is(tightErr, err) {
			t.Fatalf("with a limit Decode(%x) = %v, want %v", block, tightErr, err)
		}
		return false
	}
	if diff := cmp.Diff(theirLines(want), lines(list)); diff != "" {
		t.Fatalf("Decode(%x) is other fields (-theirs +ours):\n%s", block, diff)
	}
	sameWithLimit(t, tight, block, list)
	if ours.Version() == before {
		if once, err := ours.Decode(nil, block); err != nil || cmp.Diff(lines(list), lines(once)) != "" {
			t.Fatalf("the same block at the same version: %q, then %q, %v", lines(list), lines(once), err)
		}
	}
	return true
}

// sameWithLimit: a limit cuts the list and does nothing else.
func sameWithLimit(t *testing.T, d *Decoder, block []byte, whole []*message.Field) {
	t.Helper()
	room, fit := d.maxList, 0
	for _, f := range whole {
		if room -= fieldSize(f.Name, f.Value); room < 0 {
			break
		}
		fit++
	}
	list, err := d.Decode(nil, block)
	if errors.Is(err, ErrTooLarge) != (fit < len(whole)) || (err != nil && !errors.Is(err, ErrTooLarge)) {
		t.Fatalf("with a limit Decode(%x) = %v", block, err)
	}
	if diff := cmp.Diff(lines(whole[:fit]), lines(list)); diff != "" {
		t.Fatalf("with a limit Decode(%x) is other fields (-want +got):\n%s", block, diff)
	}
}

// oracle is the decoder of x/net. It refuses a second size update of a block
// unless the table is empty, so it gets them as blocks of their own.
type oracle struct{ *xhpack.Decoder }

func (o *oracle) decode(block []byte) ([]xhpack.HeaderField, error) {
	for len(block) > 0 && block[0]&0xe0 == sizeUpdate {
		n := 1
		if block[0]&0x1f == 0x1f {
			for n < len(block) && block[n]&0x80 != 0 {
				n++
			}
			n = min(n+1, len(block))
		}
		if _, err := o.DecodeFull(block[:n]); err != nil {
			return nil, err
		}
		block = block[n:]
	}
	return o.DecodeFull(block)
}

func theirLines(list []xhpack.HeaderField) []string {
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

// FuzzRoundTrip writes blocks as the input says and has x/net and a Decoder read
// them. The input is instructions of two octets.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 1, 1, 4, 0, 0, 1, 0, 2, 1, 1, 4, 0})
	f.Add([]byte{0, 1, 4, 0, 3, 0, 3, 255, 0, 1, 4, 0, 0, 1, 4, 0, 3, 2, 3, 9, 4, 0})
	f.Add(bytes.Repeat([]byte{0, 1, 0, 2, 1, 3, 2, 200, 2, 201, 4, 0, 0, 7, 0, 8, 1, 9, 4, 0, 3, 3}, 4))
	var all []byte
	for i := range 256 {
		all = append(all, 0, byte(i), 1, byte(i), 2, byte(i), 0, byte(i), 1, byte(i), 4, 0)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, program []byte) {
		p := newPeers(t)
		fields := map[byte]*message.Field{}
		for ; len(program) >= 2; program = program[2:] {
			arg := program[1]
			switch program[0] % 5 {
			case 0: // one of 256 fields, which is Again from the second time on
				if fields[arg] != nil {
					fields[arg].Again = true
				} else {
					fields[arg] = someField(arg)
				}
				p.field(fields[arg])
			case 1: // an equal one
				p.field(someField(arg))
			case 2:
				p.pseudo(fmt.Sprintf(":pseudo-%d", arg%3), strings.Repeat("/p", int(arg)))
			case 3:
				p.resize(uint32(arg) * 24)
			case 4:
				p.end()
			}
		}
		p.end()
	})
}

// someField returns a field, always the same: names of all kinds, and values of
// any octets and lengths.
func someField(n byte) *message.Field {
	names := []string{"a", "content-type", "grpc-timeout", "cookie", "accept-encoding", "x-" + strings.Repeat("n", int(n)), "b", ":path"}
	values := []string{"", "gzip, deflate", "/", string([]byte{n, 0, 0xff}), strings.Repeat("v", 4*int(n))}
	return &message.Field{Name: names[n%8], Value: values[n%5], Sensitive: n%16 == 9}
}

// peers are an Encoder and two that read what it writes.
type peers struct {
	t       *testing.T
	enc     *Encoder
	theirs  *oracle
	ours    *Decoder
	limit   uint32 // of the peer's table, as announced
	block   []byte
	begun   bool
	version uint64 // at Begin
	want    []string
	sent    map[string][]byte // blocks that may be sent again, by their list
	at      uint64            // the version which they belong to
}

func newPeers(t *testing.T) *peers {
	return &peers{
		t: t, enc: NewEncoder(), ours: NewDecoder(new(message.Interner), 4096, 1<<40), limit: 4096,
		theirs: &oracle{xhpack.NewDecoder(4096, nil)}, sent: map[string][]byte{},
	}
}

func (p *peers) begin() {
	if !p.begun {
		p.version, p.begun = p.enc.Version(), true
		p.block = p.enc.Begin(nil)
	}
}

func (p *peers) field(f *message.Field) {
	p.begin()
	p.block = p.enc.Field(p.block, f)
	p.want = append(p.want, lines([]*message.Field{f})...)
}

func (p *peers) pseudo(name, value string) {
	p.begin()
	p.block = p.enc.Pseudo(p.block, name, value)
	p.want = append(p.want, name+": "+value)
}

// resize has effect between blocks only, like SETTINGS.
func (p *peers) resize(n uint32) {
	p.end()
	p.enc.SetMaxTable(n)
	p.limit = n
	p.theirs.SetAllowedMaxDynamicTableSize(n)
	if p.enc.table.size > n {
		p.t.Fatalf("the table has %d bytes of %d", p.enc.table.size, n)
	}
}

// end has the block read. A list that was written at this version before is the
// same bytes, or some field has become Again meanwhile; those can be read, too.
func (p *peers) end() {
	if !p.begun {
		return
	}
	p.read(p.block)
	list := strings.Join(p.want, "\n")
	if p.at != p.enc.Version() {
		p.at, p.sent = p.enc.Version(), map[string][]byte{}
	}
	if old := p.sent[list]; old != nil {
		p.read(old)
	}
	if p.version == p.enc.Version() {
		p.sent[list] = p.block
	}
	p.begun, p.block, p.want = false, nil, nil
	if diff := cmp.Diff(lines(contents(&p.enc.table)), lines(contents(&p.ours.table))); diff != "" {
		p.t.Fatalf("the tables differ (-encoder +decoder):\n%s", diff)
	}
}

func (p *peers) read(block []byte) {
	p.t.Helper()
	p.ours.limit = min(p.limit, 4096)
	list, err := p.ours.Decode(nil, block)
	if diff := cmp.Diff(p.want, lines(list)); diff != "" || err != nil {
		p.t.Fatalf("we read %x as other fields (-want +got), %v:\n%s", block, err, diff)
	}
	theirs, err := p.theirs.decode(block)
	if diff := cmp.Diff(p.want, theirLines(theirs)); diff != "" || err != nil {
		p.t.Fatalf("they read %s as other fields (-want +got), %v:\n%s", hex.EncodeToString(block), err, diff)
	}
	for i, f := range list {
		if f.Sensitive != theirs[i].Sensitive {
			p.t.Fatalf("%s: never indexed is %v", f.Name, theirs[i].Sensitive)
		}
	}
}
