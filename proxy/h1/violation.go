// SPDX-License-Identifier: Apache-2.0

package h1

// violation is how a peer broke the protocol.
type violation struct {
	status int // that a server answers with
	text   string
}

// Error says what was wrong.
func (v *violation) Error() string { return v.text }

// reason is the word for it in the Shunt-Error header.
func (v *violation) reason() string {
	if v.status == 431 {
		return "header-too-large"
	}
	return "invalid-request"
}

var (
	errLineEnd   = &violation{400, "read line: LF without CR"}                                       // RFC 9112, 2.2
	errStartLine = &violation{400, "read start line: malformed"}                                     // RFC 9112, 3 and 4
	errVersion   = &violation{505, "read start line: version is neither HTTP/1.1 nor HTTP/1.0"}      // RFC 9112, 2.3
	errTarget    = &violation{400, "read request target: malformed"}                                 // RFC 9112, 3.2
	errHost      = &violation{400, "read Host: missing, malformed, or more than one"}                // RFC 9112, 3.2
	errName      = &violation{400, "read field: name is no token before a colon"}                    // RFC 9112, 5.1 and 5.2
	errValue     = &violation{400, "read field: control character in value"}                         // RFC 9110, 5.5
	errTooLarge  = &violation{431, "read head: more bytes or fields than allowed"}                   // RFC 6585, 5
	errLength    = &violation{400, "read Content-Length: no number, or several"}                     // RFC 9112, 6.3
	errBoth      = &violation{400, "read head: Transfer-Encoding with Content-Length or HTTP/1.0"}   // RFC 9112, 6.1
	errCoding    = &violation{501, "read Transfer-Encoding: not chunked alone"}                      // RFC 9112, 6.1
	errConnect   = &violation{400, "read head: CONNECT with content"}                                // RFC 9110, 9.3.6
	errChunk     = &violation{400, "read chunk: malformed"}                                          // RFC 9112, 7.1
	errUnasked   = &violation{400, "read response: bytes without a request"}                         // RFC 9112, 9.2
	errSwitch    = &violation{400, "read response: 101 without a complete request that asks for it"} // RFC 9110, 7.8
	errInterim   = &violation{400, "read response: too many interim ones"}
)
