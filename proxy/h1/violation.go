// SPDX-License-Identifier: Apache-2.0

package h1

// violation is how a peer broke the protocol.
type violation struct {
	status int // that a server answers with
	text   string
	limit  string // that was hit, if any
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
	errLineEnd   = &violation{status: 400, text: "read line: LF without CR"}                                    // RFC 9112, 2.2
	errStartLine = &violation{status: 400, text: "read start line: malformed"}                                  // RFC 9112, 3 and 4
	errVersion   = &violation{status: 505, text: "read start line: version is neither HTTP/1.1 nor HTTP/1.0"}   // RFC 9112, 2.3
	errTarget    = &violation{status: 400, text: "read request target: malformed"}                              // RFC 9112, 3.2
	errHost      = &violation{status: 400, text: "read Host: missing, malformed, or more than one"}             // RFC 9112, 3.2
	errName      = &violation{status: 400, text: "read field: name is no token before a colon"}                 // RFC 9112, 5.1 and 5.2
	errValue     = &violation{status: 400, text: "read field: control character in value"}                      // RFC 9110, 5.5
	errTooLarge  = &violation{status: 431, text: "read head: more bytes than allowed", limit: LimitHeaderBytes} // RFC 6585, 5
	errTooMany   = &violation{status: 431, text: "read head: more fields than allowed", limit: LimitFields}
	errLength    = &violation{status: 400, text: "read Content-Length: no number, or several"}                   // RFC 9112, 6.3
	errBoth      = &violation{status: 400, text: "read head: Transfer-Encoding with Content-Length or HTTP/1.0"} // RFC 9112, 6.1
	errCoding    = &violation{status: 501, text: "read Transfer-Encoding: not chunked alone"}                    // RFC 9112, 6.1
	errConnect   = &violation{status: 400, text: "read head: CONNECT with content"}                              // RFC 9110, 9.3.6
	errChunk     = &violation{status: 400, text: "read chunk: malformed"}                                        // RFC 9112, 7.1
	errExtension = &violation{status: 400, text: "read chunk: more bytes of extensions than allowed", limit: LimitExtension}
	errUnasked   = &violation{status: 400, text: "read response: bytes without a request"}                         // RFC 9112, 9.2
	errSwitch    = &violation{status: 400, text: "read response: 101 without a complete request that asks for it"} // RFC 9110, 7.8
	errInterim   = &violation{status: 400, text: "read response: too many interim ones", limit: LimitInterim}
)
