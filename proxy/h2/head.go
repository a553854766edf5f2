// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"strconv"
	"strings"

	"github.com/shuntmesh/shunt/proxy/message"
)

// Methods that mean something to a connection.
const (
	methodConnect = "CONNECT"
	methodHead    = "HEAD"
	methodOptions = "OPTIONS"
)

// fillHead makes h of a decoded list of fields. An error is malformed, and h is
// then of no use.
func fillHead(h *message.Head, kind message.Kind, fields []*message.Field) error {
	*h = message.Head{Kind: kind, ContentLength: -1, Fields: h.Fields[:0]}
	n, err := fillPseudo(h, fields)
	if err != nil {
		return err
	}
	host := ""
	for _, f := range fields[n:] {
		if err := checkField(f.Name, f.Value); err != nil {
			return err
		}
		switch f.Name {
		case "content-length":
			if err := fillLength(h, f.Value); err != nil {
				return err
			}
		case "content-type":
			h.GRPC = message.IsGRPC(f.Value)
		case "host":
			if kind != message.Request {
				break
			}
			if host != "" {
				return malformed("host appears twice")
			}
			host = f.Value
			continue
		}
		h.Fields = append(h.Fields, f)
	}
	switch kind {
	case message.Request:
		return completeRequest(h, host)
	case message.Response:
		if h.Status == 0 {
			return malformed("response has no :status")
		}
	}
	return nil
}

// fillPseudo reads the pseudo-header fields, which come first, and tells how
// many there are (RFC 9113, section 8.3).
func fillPseudo(h *message.Head, fields []*message.Field) (int, error) {
	for i, f := range fields {
		if f.Name == "" || f.Name[0] != ':' {
			return i, nil
		}
		if f.Name == ":status" {
			if h.Kind != message.Response || h.Status != 0 {
				return 0, malformed(":status has no place here")
			}
			if h.Status = parseStatus(f.Value); h.Status == 0 {
				return 0, malformed(":status is not a status code")
			}
			continue
		}
		place := pseudoPlace(h, f.Name)
		if place == nil || *place != "" {
			return 0, malformed("pseudo-header field is unknown, doubled or has no place here")
		}
		if f.Value == "" {
			return 0, malformed("pseudo-header field is empty")
		}
		*place = f.Value
	}
	return len(fields), nil
}

// pseudoPlace is where the value of a request's pseudo-header field goes.
func pseudoPlace(h *message.Head, name string) *string {
	if h.Kind != message.Request {
		return nil
	}
	switch name {
	case ":method":
		return &h.Method
	case ":scheme":
		return &h.Scheme
	case ":authority":
		return &h.Authority
	case ":path":
		return &h.Path
	case ":protocol":
		return &h.Protocol
	}
	return nil
}

func parseStatus(s string) int {
	if len(s) != 3 || s[0] < '1' || s[0] > '9' || s[1] < '0' || s[1] > '9' || s[2] < '0' || s[2] > '9' {
		return 0
	}
	return int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0')
}

// fillLength takes a content-length: digits and nothing else, once (RFC 9110,
// section 8.6). That of trailers says nothing of the body.
func fillLength(h *message.Head, value string) error {
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil {
		return malformed("content-length is not a number")
	}
	if h.ContentLength >= 0 {
		return malformed("content-length appears twice")
	}
	if h.Kind != message.Trailers {
		h.ContentLength = int64(n)
	}
	return nil
}

// completeRequest checks the control data of a request as a whole (RFC 9113,
// sections 8.3.1 and 8.5; RFC 8441, section 4).
func completeRequest(h *message.Head, host string) error {
	if h.Authority == "" {
		h.Authority = host
	} else if host != "" && !strings.EqualFold(host, h.Authority) {
		return malformed("host and :authority differ")
	}
	if !isToken(h.Method) {
		return malformed(":method is not a method")
	}
	if !isAuthority(h.Authority) {
		return malformed(":authority has forbidden characters")
	}
	if h.Method == methodConnect && h.Protocol == "" {
		if h.Authority == "" || h.Scheme != "" || h.Path != "" {
			return malformed("CONNECT needs :authority, and neither :scheme nor :path")
		}
		return nil
	}
	switch {
	case h.Protocol != "" && (h.Method != methodConnect || !isToken(h.Protocol)):
		return malformed(":protocol has no place here")
	case !isScheme(h.Scheme):
		return malformed(":scheme is not a scheme")
	case !isPath(h.Path) && (h.Path != "*" || h.Method != methodOptions):
		return malformed(":path is not a path")
	}
	return nil
}
