// SPDX-License-Identifier: Apache-2.0

package h2

// checkField checks one regular field (RFC 9113, sections 8.2.1 and 8.2.2). In
// one thing it is more lenient: blanks around a value are passed on. gRPC puts
// them there, in grpc-message and in metadata, and who rejected them (nghttp2
// 1.49, and Envoy with it) broke what both ends agreed on. Where a value means
// something to us, blanks are errors.
func checkField(name, value string) error {
	if name == "" {
		return malformed("field has no name")
	}
	for i := range len(name) {
		if b := name[i]; !tokenByte(b) || 'A' <= b && b <= 'Z' {
			return malformed("field name has a forbidden character, or a pseudo-header field comes late")
		}
	}
	for i := range len(value) {
		if b := value[i]; b < ' ' && b != '\t' || b == 0x7f {
			return malformed("field value has a control character")
		}
	}
	if connectionSpecific(name) || name == "te" && value != "trailers" {
		return malformed("field is specific to a connection of HTTP/1.1")
	}
	return nil
}

// connectionSpecific tells whether HTTP/2 has no such field (section 8.2.2).
func connectionSpecific(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return true
	}
	return false
}

// tokenByte tells whether b is a tchar (RFC 9110, section 5.6.2).
func tokenByte(b byte) bool {
	switch {
	case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		return true
	}
	switch b {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return false
}

func isToken(s string) bool {
	for i := range len(s) {
		if !tokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// isScheme follows RFC 3986, section 3.1.
func isScheme(s string) bool {
	for i := range len(s) {
		switch b := s[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z':
		case i > 0 && ('0' <= b && b <= '9' || b == '+' || b == '-' || b == '.'):
		default:
			return false
		}
	}
	return s != ""
}

// isPath asks for a path that begins with a slash, and for no blanks or control
// characters, which HTTP/1.1 could not carry.
func isPath(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != "" && s[0] == '/'
}

// isAuthority asks for no userinfo, and nothing that begins another part of a
// URI. There may be none.
func isAuthority(s string) bool {
	for i := range len(s) {
		switch b := s[i]; {
		case 'a' <= b && b <= 'z', '-' <= b && b <= '9' && b != '/': // most of them
		case b <= ' ', b == 0x7f, b == '@', b == '/', b == '?', b == '#', b == '\\':
			return false
		}
	}
	return true
}
