// SPDX-License-Identifier: Apache-2.0

package h1

import (
	"bytes"
	"strings"

	"github.com/shuntmesh/shunt/proxy/message"
)

// maxInterned is how long the line of an interned field may be.
const maxInterned = 1 << 10

// readField returns the field that is written on line, which ends with CRLF.
// The line itself is its key in the Interner. HPACK's keys there begin with an
// octet beyond ASCII, so a line that does is not looked for: it is malformed.
func readField(in *message.Interner, line []byte) (*message.Field, error) {
	interned := len(line) <= maxInterned && line[0] < 0x80
	if interned {
		if f := in.Find(line); f != nil {
			return f, nil
		}
	}
	f, err := parseField(line)
	if err == nil && interned && worthKeeping(f) {
		in.Add(line, f)
	}
	return f, err
}

// parseField reads name ":" OWS value OWS CRLF. White space before the colon,
// or a line that continues the one before, has been used to smuggle requests,
// and is no token (RFC 9112, 5.1 and 5.2).
func parseField(line []byte) (*message.Field, error) {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 || !isToken(line[:colon]) {
		return nil, errName
	}
	if !isText(line[colon+1 : len(line)-2]) {
		return nil, errValue
	}
	text := string(line)
	f := &message.Field{Name: lower(text[:colon]), Value: trim(text[colon+1 : len(text)-2]), Line: text}
	f.Sensitive = message.Sensitive(f.Name)
	return f, nil
}

// worthKeeping is false for fields that rarely come twice: they would only push
// others out of the Interner. Date is none of them, since all responses of one
// second have the same, nor is a short Content-Length.
func worthKeeping(f *message.Field) bool {
	switch f.Name {
	case "date":
		return true
	case "content-length":
		return len(f.Value) <= 3
	}
	return !f.Sensitive && !message.Volatile(f.Name)
}

// elements calls f with each element of a list (RFC 9110, 5.6.1).
func elements(list string, f func(string)) {
	for e := range strings.SplitSeq(list, ",") {
		if e = trim(e); e != "" {
			f(e)
		}
	}
}
