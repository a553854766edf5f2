// SPDX-License-Identifier: Apache-2.0

package hpack

import (
	"io"
	"math"

	xhpack "golang.org/x/net/http2/hpack"

	"github.com/shuntmesh/shunt/proxy/message"
)

// Patterns of the first octet of a representation (section 6), and how many of
// its bits are left for an integer.
const (
	indexed      = 0x80 // 6.1
	incremental  = 0x40 // 6.2.1, literal with incremental indexing
	unindexed    = 0x00 // 6.2.2, literal without indexing
	neverIndexed = 0x10 // 6.2.3
	sizeUpdate   = 0x20 // 6.3

	indexedBits     = 7
	incrementalBits = 6
	literalBits     = 4
	sizeUpdateBits  = 5
	stringBits      = 7

	huffmanFlag = 0x80 // 5.2
)

// maxOctets is how many octets of an integer may follow its prefix: as many as
// 32 bits need. Leading zeros beyond them are refused like larger numbers.
const maxOctets = 5

// readInteger reads an integer that begins in the lower bits of p's first octet
// (section 5.1).
func readInteger(p []byte, bits uint) (n uint32, rest []byte, err error) {
	if len(p) == 0 {
		return 0, nil, errTruncated
	}
	prefix := uint64(1)<<bits - 1
	sum := uint64(p[0]) & prefix
	if sum < prefix {
		return uint32(sum), p[1:], nil
	}
	for i, octet := range p[1:] {
		if i == maxOctets {
			return 0, nil, errInteger
		}
		sum += uint64(octet&0x7f) << (7 * i)
		if octet&0x80 == 0 {
			if sum > math.MaxUint32 {
				return 0, nil, errInteger
			}
			return uint32(sum), p[i+2:], nil
		}
	}
	return 0, nil, errTruncated
}

// appendInteger writes n behind a pattern that leaves so many bits free.
func appendInteger(dst []byte, pattern byte, bits uint, n uint32) []byte {
	prefix := uint32(1)<<bits - 1
	if n < prefix {
		return append(dst, pattern|byte(n))
	}
	dst = append(dst, pattern|byte(prefix))
	for n -= prefix; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}

// text is a string literal as it came (section 5.2).
type text struct {
	wire  []byte // with flag and length: what an interner knows it by
	start int    // of the string itself
}

// readText reads a string literal. It does not decode it.
func readText(p []byte) (s text, rest []byte, err error) {
	n, rest, err := readInteger(p, stringBits)
	if err != nil {
		return text{}, nil, err
	}
	if uint64(n) > uint64(len(rest)) {
		return text{}, nil, errTruncated
	}
	start := len(p) - len(rest)
	return text{wire: p[:start+int(n)], start: start}, rest[n:], nil
}

// octets is the string as it came, and whether that is in Huffman code.
func (s text) octets() (octets []byte, huffman bool) {
	return s.wire[s.start:], len(s.wire) > 0 && s.wire[0]&huffmanFlag != 0
}

// empty tells whether there is nothing in it, however it is coded.
func (s text) empty() bool { return len(s.wire) == s.start }

// decode returns the string. No code has fewer than five bits, so it is at most
// 8/5 of what came.
func (s text) decode() (string, error) {
	octets, huffman := s.octets()
	if !huffman {
		return string(octets), nil
	}
	return xhpack.HuffmanDecodeToString(octets)
}

// maxShort is how long a string may be that is decoded into a slab, in octets as
// they came: longer ones are rare, and would have to share memory with others.
const maxShort = 64

func (s text) short() bool { return len(s.wire)-s.start <= maxShort }

// decodeInto returns the string, which is in the slab's memory.
func (s text) decodeInto(slab *message.Slab) (string, error) {
	octets, huffman := s.octets()
	if !huffman {
		b := slab.Room(len(octets))
		start := b.Len()
		b.Write(octets)
		return slab.Since(start), nil
	}
	b := slab.Room(len(octets) * 8 / 5) // see decode
	start := b.Len()
	_, err := xhpack.HuffmanDecode(b, octets)
	return slab.Since(start), err
}

// check tells what decode would, for a string that nobody wants.
func (s text) check() error {
	octets, huffman := s.octets()
	if !huffman {
		return nil
	}
	_, err := xhpack.HuffmanDecode(io.Discard, octets)
	return err
}

// appendText writes a string literal, Huffman coded where that is shorter.
func appendText(dst []byte, s string) []byte {
	if n := xhpack.HuffmanEncodeLength(s); n < uint64(len(s)) {
		dst = appendInteger(dst, huffmanFlag, stringBits, uint32(n))
		return xhpack.AppendHuffmanString(dst, s)
	}
	dst = appendInteger(dst, 0, stringBits, uint32(len(s)))
	return append(dst, s...)
}
