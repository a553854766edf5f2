// SPDX-License-Identifier: Apache-2.0

package h1

import (
	"errors"

	"github.com/shuntmesh/shunt/proxy/message"
)

// Server is a connection that a client made. Requests are read one at a time:
// what is behind one (RFC 9112, 9.3.2) waits until its response was sent.
type Server struct {
	conn
	accept func(message.Stream) message.Handler
	resume func() // s.goOn, made once
	queued bool   // with Options.Later
	leaves bool   // GoAway

	// Of the request in turn.
	isHead  bool
	connect bool
	upgrade bool
	old     bool // HTTP/1.0
	persist bool
}

// NewServer returns the core of a connection from a client. accept is called
// for each request; its Handler's OnHead follows at once. That may be within
// the SendHead or SendData that sent the response before, see Options.Later.
//
// OnHead of CONNECT has end false. Of a request with Upgrade it has what the
// request's framing says; after a 101 more follows in OnData even so.
func NewServer(w Wire, o Options, accept func(message.Stream) message.Handler) *Server {
	s := &Server{accept: accept}
	s.init(w, o, s)
	s.resume = s.goOn
	return s
}

// Idle tells that no request is in progress: there is none that was read up to
// the end of its head and not answered whole.
func (s *Server) Idle() bool { return s.turn == nil }

// GoAway closes the connection once it is idle. A response that has not begun
// says so.
func (s *Server) GoAway() {
	s.leaves = true
	s.leave()
}

func (s *Server) leave() {
	if s.leaves && s.turn == nil && s.state == readHead && len(s.held) == 0 && !s.running {
		s.close()
	}
}

// Receive takes bytes from the client.
func (s *Server) Receive(p []byte) error {
	err := s.conn.Receive(p)
	s.leave() // if GoAway was called from within
	return err
}

// onHead reads a request, unless the responses before are still in the way: a
// client that doesn't read must not make us hold ever more of them.
func (s *Server) onHead(in []byte) (int, error) {
	if s.full {
		return 0, nil
	}
	p, n, err := s.scan.request(in)
	if n == 0 {
		return 0, err
	}
	h := p.head
	s.isHead, s.connect, s.upgrade = h.Method == methodHead, h.Method == methodConnect, h.Protocol != ""
	s.old, s.persist = p.old, p.persists()
	st := s.begin(nil)
	end := false
	switch {
	case s.connect:
		s.state = readNone // until the answer
	case p.chunked:
		s.state, s.chunks = readChunks, chunks{extension: s.options.MaxExtension}
	case h.ContentLength > 0:
		s.state, s.length = readLength, h.ContentLength
	default:
		s.state, end = readNone, true
	}
	st.handler = s.accept(st)
	if s.turn == st {
		st.handler.OnHead(h, end)
	}
	return n, nil
}

func (s *Server) received(bool) { s.state = readNone }
func (s *Server) told()         {}
func (s *Server) idle() error   { return nil }

// malformed answers where that is still possible (RFC 9112, 2.2 and 6.3).
func (s *Server) malformed(err error) error {
	s.tooMuch(err)
	s.die()
	var h message.Handler
	begun := s.out.begun
	if s.turn != nil {
		h = s.finish()
	} else {
		begun = false
	}
	if begun {
		s.wire.Abort()
	} else {
		s.refuse(err)
	}
	if h != nil {
		h.OnReset(message.Reset{Code: message.ProtocolError, Malformed: true})
	}
	return err
}

func (s *Server) refuse(err error) {
	v := errStartLine
	errors.As(err, &v)
	o := s.wire.Output()
	*o = appendRefusal(*o, v)
	if s.options.Refused != nil {
		s.options.Refused(v.status)
	}
}

// sendHead sends a response.
func (s *Server) sendHead(h *message.Head, end bool) {
	switch {
	case s.out.begun:
		s.misframed(end)
	case h.Informational():
		if !s.old && !s.writeHead(h, form{}) { // HTTP/1.0 has none (RFC 9110, 15.2)
			s.breakOff()
		}
	case h.Status == 101, s.connect && h.Status/100 == 2:
		s.switchOver(h, end)
	default:
		s.sendFinal(h, end)
	}
}

func (s *Server) sendFinal(h *message.Head, end bool) {
	f := s.formOf(h, end)
	// The rest of a request that has its answer before its end is not worth
	// reading, and what follows a refused CONNECT may be meant for the tunnel.
	s.persist = s.persist && !s.leaves && s.state == readNone && !s.connect && f.framing != framedByEnd
	f.close, f.keepAlive = !s.persist, s.persist && s.old
	if end && f.length && h.ContentLength > 0 && !s.bodiless(h) || !s.writeHead(h, f) {
		s.misframed(end)
		return
	}
	s.out = outgoing{framing: f.framing, left: h.ContentLength, begun: true}
	if end {
		s.ended()
	}
}

// bodiless tells which responses have no content, whatever else they say (RFC
// 9112, 6.3).
func (s *Server) bodiless(h *message.Head) bool {
	return s.isHead || h.Status == 204 || h.Status == 304
}

func (s *Server) formOf(h *message.Head, end bool) form {
	switch {
	case s.bodiless(h):
		return form{length: h.ContentLength >= 0 && h.Status != 204}
	case end:
		return form{length: true}
	case h.ContentLength >= 0:
		return form{framing: framedLength, length: true}
	case s.old:
		return form{framing: framedByEnd}
	}
	return form{framing: framedChunks}
}

// switchOver makes a tunnel of the connection (RFC 9110, 7.8 and 9.3.6). Nothing
// can have been asked for by a request that has not ended.
func (s *Server) switchOver(h *message.Head, end bool) {
	if s.state != readNone || h.Status == 101 && !s.upgrade || !s.writeHead(h, form{}) {
		s.misframed(end)
		return
	}
	s.out = outgoing{framing: framedRaw, begun: true}
	s.state = readRaw
	if end {
		s.ended()
	}
	s.wake()
}

// sent goes on to the next request, or ends the connection.
func (s *Server) sent() {
	if s.out.framing == framedRaw {
		s.tunnelSent()
		return
	}
	s.finish()
	if !s.persist || s.leaves {
		s.close()
		return
	}
	s.state = readHead
	s.wake()
}

// wake has input read that waited for what was just sent.
func (s *Server) wake() {
	switch {
	case s.running || s.queued || len(s.held) == 0 && !s.eof:
	case s.options.Later == nil:
		s.goOn()
	default:
		s.queued = true
		s.options.Later(s.resume)
	}
}

func (s *Server) goOn() {
	s.queued = false
	if s.running || s.state == readDead {
		return
	}
	if len(s.held) > 0 {
		if err := s.receive(s.held, true); err != nil {
			s.wire.Close()
			return
		}
	}
	if s.eof {
		s.atEnd()
	}
}

// End takes the client's end of stream. It still gets the response to a
// request that is whole.
func (s *Server) End() error {
	s.eof = true
	if !s.queued {
		s.atEnd()
	}
	return nil
}

// atEnd is called when all input was read that can be.
func (s *Server) atEnd() {
	switch s.state {
	case readHead:
		if !s.full || len(s.held) == 0 {
			s.close()
		}
	case readLength, readChunks, readTrailers:
		begun, h := s.out.begun, s.finish()
		s.close()
		if begun {
			s.wire.Abort() // or half of a response might look whole
		}
		h.OnReset(message.Reset{Code: message.Cancel})
	case readRaw:
		s.tunnelEnded()
	}
}

// Drained tells that the client has read what was too much for it.
func (s *Server) Drained() {
	s.drained()
	if s.state == readHead {
		s.goOn()
	}
}

// Closed ends the request in progress.
func (s *Server) Closed(error) {
	s.die()
	if s.turn != nil {
		s.finish().OnReset(message.Reset{Code: message.Cancel})
	}
}
