// SPDX-License-Identifier: Apache-2.0

package h1

import (
	"slices"
	"strconv"

	"github.com/shuntmesh/shunt/proxy/message"
)

// take puts f into the head, unless it is for this connection only.
func (s *scanner) take(f *message.Field) error {
	switch f.Name {
	case "content-length", "transfer-encoding":
		return s.takeFraming(f)
	case "connection", "keep-alive", "proxy-connection", "te", "upgrade":
		s.takeHop(f)
		return nil
	case "host":
		if s.head.Kind == message.Request {
			return s.takeHost(f.Value)
		}
	case "content-type":
		s.head.GRPC = message.IsGRPC(f.Value)
	}
	s.head.Fields = append(s.head.Fields, f)
	return nil
}

// takeHost takes the only Host. A target with an authority beats it (RFC 9112,
// 3.2.2 and 3.2.3).
func (s *scanner) takeHost(value string) error {
	if s.hosts++; s.hosts > 1 || !isHost(value) {
		return errHost
	}
	if s.head.Authority == "" {
		s.head.Authority = value
	}
	return nil
}

// takeFraming is for what tells the length of the content. In a trailer section
// that means nothing (RFC 9110, 6.5.1).
func (s *scanner) takeFraming(f *message.Field) error {
	if s.head.Kind == message.Trailers {
		return nil
	}
	if f.Name == "transfer-encoding" {
		s.coded = true
		if s.last.chunked || !isFold(f.Value, "chunked") {
			s.codings++
		}
		s.last.chunked = true
		return nil
	}
	n, err := parseLength(f.Value)
	if err != nil || s.length != "" && s.length != f.Value {
		return errLength
	}
	if s.length != "" {
		return nil // once more the same is allowed, but not passed on (RFC 9112, 6.3)
	}
	s.head.ContentLength, s.length = n, f.Value
	if len(f.Value) > 1 && f.Value[0] == '0' { // octal, to some
		f = &message.Field{Name: f.Name, Value: strconv.FormatInt(n, 10)}
	}
	s.head.Fields = append(s.head.Fields, f)
	return nil
}

// parseLength reads 1*DIGIT (RFC 9110, 8.6) that fits an int64.
func parseLength(v string) (int64, error) {
	if v == "" || len(v) > 18 {
		return 0, errLength
	}
	var n int64
	for _, c := range []byte(v) {
		if c < '0' || c > '9' {
			return 0, errLength
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}

// takeHop is for fields of one hop (RFC 9110, 7.6.1).
func (s *scanner) takeHop(f *message.Field) {
	switch f.Name {
	case "connection":
		s.takeConnection(f.Value)
	case "upgrade":
		if s.upgrade != "" {
			s.upgrade += ", "
		}
		s.upgrade += f.Value
	case "te":
		if s.head.Kind == message.Request {
			s.takeTE(f)
		}
	}
}

func (s *scanner) takeConnection(value string) {
	unknown := false
	elements(value, func(option string) {
		switch {
		case isFold(option, "close"):
			s.last.close = true
		case isFold(option, "keep-alive"):
			s.last.keepAlive = true
		case isFold(option, "upgrade"):
			s.wants = true
		default:
			unknown = true
		}
	})
	if unknown {
		s.named = append(s.named, value)
	}
}

// takeTE keeps "te: trailers", which is a promise of the whole path: gRPC
// wants it. What codings this client takes is no concern of ours.
func (s *scanner) takeTE(f *message.Field) {
	trailers := false
	elements(f.Value, func(coding string) { trailers = trailers || isFold(coding, "trailers") })
	if !trailers || slices.ContainsFunc(s.head.Fields, func(g *message.Field) bool { return g.Name == "te" }) {
		return
	}
	if !isFold(f.Value, "trailers") {
		f = &message.Field{Name: "te", Value: "trailers"}
	}
	s.head.Fields = append(s.head.Fields, f)
}
