// SPDX-License-Identifier: Apache-2.0

package h1

import (
	"bytes"
	"slices"

	"github.com/shuntmesh/shunt/proxy/message"
)

// parsed is a head, and what was in it for this connection alone.
type parsed struct {
	head      *message.Head
	old       bool // HTTP/1.0
	chunked   bool // Transfer-Encoding: chunked
	close     bool // Connection: close
	keepAlive bool // Connection: keep-alive
}

// persists tells whether another message may follow on the connection (RFC
// 9112, 9.3).
func (p *parsed) persists() bool { return !p.close && (!p.old || p.keepAlive) }

// scanner turns the bytes of heads into Heads. It keeps nothing of a head that
// is not complete: the connection does, and has it read again with each line
// that came since, so that an error is found as soon as a line has it, however
// the bytes were cut.
type scanner struct {
	options *Options
	cache   *headCache
	last    parsed
	head    message.Head // that of last, unless it comes from the cache

	// Of the head in work.
	hosts   int
	length  string   // the first Content-Length, as it came
	coded   bool     // there is a Transfer-Encoding
	codings int      // of them all, that are not chunked
	named   []string // by Connection, and not known to the core
	upgrade string
	wants   bool // Connection: upgrade
}

// request reads the head of a request at the start of in, and how long it is: 0
// while it is incomplete. It is valid until the next head of this scanner.
func (s *scanner) request(in []byte) (*parsed, int, error) {
	if p, n := s.cache.find(in); n > 0 {
		return p, n, nil
	}
	start := 0
	if bytes.HasPrefix(in, []byte("\r\n")) {
		start = 2 // some clients end a body with it (RFC 9112, 2.2)
	}
	n, err := s.read(in, start, message.Request, s.requestLine, s.endRequest)
	return &s.last, n, err
}

// response does the same for a response.
func (s *scanner) response(in []byte) (*parsed, int, error) {
	if p, n := s.cache.find(in); n > 0 {
		return p, n, nil
	}
	n, err := s.read(in, 0, message.Response, s.statusLine, func() error { return nil })
	return &s.last, n, err
}

// trailers reads a trailer section, which may be empty.
func (s *scanner) trailers(in []byte) (*message.Head, int, error) {
	s.reset(message.Trailers)
	n, err := s.bounded(in, 0, s.fields)
	s.head.ContentLength = -1
	return &s.head, n, err
}

func (s *scanner) reset(kind message.Kind) {
	s.head = message.Head{Kind: kind, ContentLength: -1, Fields: s.head.Fields[:0]}
	s.last = parsed{head: &s.head}
	s.hosts, s.length, s.coded, s.codings, s.named, s.upgrade, s.wants = 0, "", false, 0, s.named[:0], "", false
}

func (s *scanner) read(in []byte, start int, kind message.Kind, first func([]byte) error, end func() error) (int, error) {
	s.reset(kind)
	n, err := s.bounded(in, start, func(b []byte) (int, error) {
		n, err := lineOf(b)
		if n == 0 {
			return 0, err
		}
		if err := first(b[:n-2]); err != nil {
			return 0, err
		}
		m, err := s.fields(b[n:])
		if m == 0 {
			return 0, err
		}
		return n + m, nil
	})
	if n == 0 {
		return 0, err
	}
	if err := s.finish(end); err != nil {
		return 0, err
	}
	s.cache = s.cache.offer(in[:n], &s.last)
	return n, nil
}

// bounded has f read at most as many bytes as allowed, behind start.
func (s *scanner) bounded(in []byte, start int, f func([]byte) (int, error)) (int, error) {
	b := in[:min(len(in), s.options.MaxHeaderBytes)]
	n, err := f(b[min(start, len(b)):])
	if n > 0 {
		return start + n, nil
	}
	if err == nil && len(b) == s.options.MaxHeaderBytes {
		err = errTooLarge
	}
	return 0, err
}

// lineOf returns how long the first line of b is with its CRLF, 0 while it is
// incomplete.
func lineOf(b []byte) (int, error) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return 0, nil
	}
	if i == 0 || b[i-1] != '\r' {
		return 0, errLineEnd
	}
	return i + 1, nil
}

// fields reads field lines up to the empty one.
func (s *scanner) fields(b []byte) (int, error) {
	at := 0
	for count := 0; ; count++ {
		n, err := lineOf(b[at:])
		if n == 0 {
			return 0, err
		}
		line := b[at : at+n]
		at += n
		if n == 2 {
			return at, nil
		}
		if count == s.options.MaxFields {
			return 0, errTooMany
		}
		f, err := readField(s.options.Interner, line)
		if err != nil {
			return 0, err
		}
		if err := s.take(f); err != nil {
			return 0, err
		}
	}
}

// requestLine reads method SP request-target SP HTTP-version (RFC 9112, 3).
func (s *scanner) requestLine(line []byte) error {
	method, rest, ok := bytes.Cut(line, []byte{' '})
	target, version, ok2 := bytes.Cut(rest, []byte{' '})
	if !ok || !ok2 || !isToken(method) {
		return errStartLine
	}
	if !isTarget(target) {
		return errTarget
	}
	if err := s.version(version); err != nil {
		return err
	}
	s.head.Method, s.head.Path, s.head.Scheme = knownMethod(method), string(target), s.options.Scheme
	var err error
	s.head.Authority, err = authorityOf(s.head.Method, s.head.Path)
	return err
}

// statusLine reads HTTP-version SP status-code [SP reason-phrase] (RFC 9112,
// 4). The second space is missing often enough.
func (s *scanner) statusLine(line []byte) error {
	if len(line) < 12 || line[8] != ' ' {
		return errStartLine
	}
	if err := s.version(line[:8]); err != nil {
		return err
	}
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return errStartLine
		}
		s.head.Status = s.head.Status*10 + int(c-'0')
	}
	if s.head.Status < 100 || len(line) > 12 && line[12] != ' ' || !isText(line[12:]) {
		return errStartLine
	}
	return nil
}

func (s *scanner) version(b []byte) error {
	switch string(b) {
	case "HTTP/1.1":
		return nil
	case "HTTP/1.0":
		s.last.old = true
		return nil
	}
	if len(b) == 8 && string(b[:5]) == "HTTP/" && b[6] == '.' {
		return errVersion
	}
	return errStartLine
}

// finish decides what needs all fields to be known.
func (s *scanner) finish(end func() error) error {
	if s.coded {
		switch {
		case s.head.ContentLength >= 0 || s.last.old:
			return errBoth
		case s.codings > 0 || !s.last.chunked:
			return errCoding
		}
	}
	s.dropNamed()
	s.head.Protocol = s.protocol()
	return end()
}

// protocol returns what an Upgrade is about (RFC 9110, 7.8). Java's client asks
// for h2c with each first request. That is obsolete (RFC 9113, 3.1), and would
// make a tunnel of a connection whose requests we are here for.
func (s *scanner) protocol() string {
	if !s.wants || s.last.old || s.head.Kind == message.Request && isFold(s.upgrade, "h2c") {
		return ""
	}
	return s.upgrade
}

// dropNamed removes the fields that Connection names (RFC 9110, 7.6.1). None of
// those is Content-Length: it is for the peer behind us too.
func (s *scanner) dropNamed() {
	for _, list := range s.named {
		elements(list, func(name string) {
			if !isFold(name, "content-length") && !isFold(name, "te") {
				s.head.Fields = slices.DeleteFunc(s.head.Fields, func(f *message.Field) bool { return isFold(name, f.Name) })
			}
		})
	}
}

// endRequest checks that there is a Host (RFC 9112, 3.2).
func (s *scanner) endRequest() error {
	if s.hosts == 0 && !s.last.old {
		return errHost
	}
	if s.head.Method == methodConnect && (s.head.ContentLength > 0 || s.coded) {
		return errConnect
	}
	return nil
}
