// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"strings"

	"github.com/shuntmesh/shunt/proxy/message"
	"github.com/shuntmesh/shunt/proxy/reason"
)

// The header fields of package reason, as they are on the wire.
var (
	errorField   = strings.ToLower(reason.Header)
	errorAtField = strings.ToLower(reason.HeaderAt)
)

// answer is an exchange as the endpoint's stream knows it.
type answer exchange

func (a *answer) x() *exchange { return (*exchange)(a) }

// OnHead takes a head or the trailers of the answer.
func (a *answer) OnHead(h *message.Head, end bool) {
	x := a.x()
	switch {
	case x.phase == done:
	case h.Kind == message.Trailers:
		x.noteGRPC(h)
		x.down.SendHead(x.strip(h), true)
		x.answerEnded()
	case h.Informational():
		x.down.SendHead(h, false)
	default:
		x.onAnswer(h, end)
	}
}

func (x *exchange) onAnswer(h *message.Head, end bool) {
	if why := x.refusedBy(h); why != reason.None {
		x.up.Reset(message.Cancel)
		x.attemptFailed(why)
		return
	}
	x.endpoint.Reached()
	x.phase, x.status = answering, h.Status
	x.body.drop(x.shard)
	x.tunnel = h.Status == 101 || x.request.Method == "CONNECT" && h.Status/100 == 2
	if x.tunnel {
		x.stopDeadline()
		// That of an HTTP/1 request had ended; now comes what is no HTTP.
		x.body.ended = x.body.ended && x.request.Method == "CONNECT" && x.conn.kind == kindHTTP2
	}
	if end {
		x.noteGRPC(h)
	}
	x.down.SendHead(x.strip(h), end)
	if end {
		x.answerEnded()
	}
}

// refusedBy tells of a proxy in front of the endpoint that the application
// never saw the request.
func (x *exchange) refusedBy(h *message.Head) reason.Reason {
	if x.shard.options.StripErrors {
		return reason.None
	}
	word, ok := h.Get(errorField)
	if !ok {
		return reason.None
	}
	at, _ := h.Get(errorAtField)
	if why := reason.Reason(word); why.Safe() && at == x.endpoint.Addr().String() {
		return why
	}
	return reason.None
}

// strip takes our own fields out of what applications answer.
func (x *exchange) strip(h *message.Head) *message.Head {
	if !x.shard.options.StripErrors {
		return h
	}
	return h.Without(errorField, errorAtField)
}

// OnData takes a piece of the answer's body.
func (a *answer) OnData(p []byte, end bool) {
	x := a.x()
	if x.phase == done {
		return
	}
	x.down.SendData(p, end)
	if x.down.Unsent() == 0 {
		x.up.Credit(len(p))
	} else {
		x.owedBack += len(p)
	}
	if end {
		x.answerEnded()
	}
}

// OnReset takes the end of an attempt that was cut off.
func (a *answer) OnReset(r message.Reset) {
	x := a.x()
	if x.phase == done {
		return
	}
	x.up = nil
	if x.overdue() {
		x.deadlineExceeded()
		return
	}
	if x.phase == answering && x.answered && r.Code == message.NoError {
		x.left()
		return
	}
	if x.phase == answering {
		x.broken(r.Code)
		return
	}
	switch {
	case r.Unprocessed && x.mayRepeat():
		x.attemptFailed(reason.RefusedStream)
	case r.Malformed:
		x.attemptFailed(reason.UpstreamInvalid)
	default:
		x.attemptFailed(reason.UpstreamReset)
	}
}

// mayRepeat tells whether a request that is said to be unprocessed may be sent
// again. HTTP/1 can't prove it: a server that has closed an idle connection may
// have got what was on its way, and that is for methods which a proxy may repeat
// (RFC 9110, section 9.2.2).
func (x *exchange) mayRepeat() bool {
	if x.conn.kind == kindHTTP2 {
		return true
	}
	switch x.request.Method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// OnDrained lets the client send on.
func (a *answer) OnDrained() {
	x := a.x()
	if x.phase == done {
		return
	}
	x.creditClient()
	x.finishIfEnded()
}

func (x *exchange) answerEnded() {
	x.answered = true
	x.finishIfEnded()
}

func (x *exchange) noteGRPC(h *message.Head) {
	if x.call {
		x.grpc, _ = h.Get("grpc-status")
	}
}
