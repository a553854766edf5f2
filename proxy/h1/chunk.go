// SPDX-License-Identifier: Apache-2.0

package h1

import "math"

// maxChunk is the largest size of a chunk that can still be multiplied by 16
// and added to.
const maxChunk = math.MaxInt64 >> 4

// chunks decodes the chunked transfer coding (RFC 9112, 7.1), up to the trailer
// section.
type chunks struct {
	at        chunkState
	left      int64 // of this chunk
	extension int   // bytes of extensions that the message may still have
}

type chunkState uint8

const (
	chunkSize   chunkState = iota // the first digit
	chunkDigits                   // further digits
	chunkExtension
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailers // behind the last chunk
)

// next reads up to and with the next piece of content, and returns it with how
// many bytes of in it took. There is none in what is left of in when data is
// empty.
func (k *chunks) next(in []byte) (data []byte, n int, err error) {
	for n < len(in) && k.at != chunkTrailers {
		if k.at == chunkData {
			m := int(min(k.left, int64(len(in)-n)))
			if k.left -= int64(m); k.left == 0 {
				k.at = chunkDataCR
			}
			return in[n : n+m], n + m, nil
		}
		if err := k.octet(in[n]); err != nil {
			return nil, n, err
		}
		n++
	}
	return nil, n, nil
}

// octet reads what is around the content.
func (k *chunks) octet(c byte) error {
	switch k.at {
	case chunkSize, chunkDigits:
		return k.size(c)
	case chunkExtension:
		return k.skip(c)
	case chunkSizeLF:
		if k.at = chunkData; k.left == 0 {
			k.at = chunkTrailers
		}
		return expect(c, '\n')
	case chunkDataCR:
		k.at = chunkDataLF
		return expect(c, '\r')
	default: // chunkDataLF
		k.at = chunkSize
		return expect(c, '\n')
	}
}

func expect(c, want byte) error {
	if c != want {
		return errChunk
	}
	return nil
}

func (k *chunks) size(c byte) error {
	digit, ok := hexDigit(c)
	switch {
	case ok && k.left <= maxChunk:
		k.at, k.left = chunkDigits, k.left<<4|int64(digit)
		return nil
	case ok || k.at == chunkSize:
		return errChunk
	case c == '\r':
		k.at = chunkSizeLF
	case c == ';':
		k.at = chunkExtension
	default:
		return errChunk
	}
	return nil
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// skip drops an extension. White space in front of its semicolon is refused:
// net/http does not know it either. A lone LF in it ends the line for some peers, so it
// is refused like every control character.
func (k *chunks) skip(c byte) error {
	k.extension--
	switch {
	case k.extension < 0:
		return errExtension
	case c == '\r':
		k.at = chunkSizeLF
	case c < ' ' && c != '\t' || c == 0x7f:
		return errChunk
	}
	return nil
}
