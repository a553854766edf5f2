// SPDX-License-Identifier: Apache-2.0

package h1

// set is a set of ASCII characters, one bit each.
type set struct{ low, high uint64 }

const (
	digits  = (1<<10 - 1) << '0'
	letters = (1<<26-1)<<('A'-64) | (1<<26-1)<<('a'-64)

	// RFC 9110, 5.6.2.
	tokenLow  = digits | 1<<'!' | 1<<'#' | 1<<'$' | 1<<'%' | 1<<'&' | 1<<'\'' | 1<<'*' | 1<<'+' | 1<<'-' | 1<<'.'
	tokenHigh = letters | 1<<('^'-64) | 1<<('_'-64) | 1<<('`'-64) | 1<<('|'-64) | 1<<('~'-64)

	// RFC 3986, 3.2.2 and 3.2.3: what host and port are made of, as one set.
	hostLow = digits | 1<<'!' | 1<<'$' | 1<<'%' | 1<<'&' | 1<<'\'' | 1<<'(' | 1<<')' | 1<<'*' | 1<<'+' | 1<<',' |
		1<<'-' | 1<<'.' | 1<<':' | 1<<';' | 1<<'='
	hostHigh = letters | 1<<('['-64) | 1<<(']'-64) | 1<<('_'-64) | 1<<('~'-64)
)

// has tells whether c is in s. A shift by 64 and more gives 0, so nothing
// outside of ASCII is.
func (s set) has(c byte) bool {
	return s.low&(1<<c)|s.high&(1<<(c-64)) != 0
}

func isToken[T string | []byte](b T) bool {
	s := set{tokenLow, tokenHigh}
	for i := range len(b) {
		if !s.has(b[i]) {
			return false
		}
	}
	return len(b) > 0
}

func isHost[T string | []byte](b T) bool {
	s := set{hostLow, hostHigh}
	for i := range len(b) {
		if !s.has(b[i]) {
			return false
		}
	}
	return true
}

// isText tells whether b may be a field value or a reason phrase: no control
// characters but the tab (RFC 9110, 5.5). What is beyond ASCII is opaque.
func isText[T string | []byte](b T) bool {
	for i := range len(b) {
		if c := b[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isTarget tells whether b may be a request target: one word without control
// characters. A fragment is no part of a target (RFC 9112, 3.2), and peers
// disagree about what it would mean. What is beyond ASCII is against RFC 3986,
// but sent, and harms no framing.
func isTarget[T string | []byte](b T) bool {
	for i := range len(b) {
		if c := b[i]; c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	return len(b) > 0
}

// isFold tells whether b is the lower-case s, but for the case of letters.
func isFold(b, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range len(b) {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

// trim removes optional white space (RFC 9110, 5.6.3).
func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// lower returns b in lower case, as the string that text is where it is already.
func lower(text string) string {
	for i := range len(text) {
		if c := text[i]; 'A' <= c && c <= 'Z' {
			b := []byte(text)
			for ; i < len(b); i++ {
				if c := b[i]; 'A' <= c && c <= 'Z' {
					b[i] = c + 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return text
}
