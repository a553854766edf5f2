// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"strconv"

	"github.com/shuntmesh/shunt/proxy/grpcstatus"
	"github.com/shuntmesh/shunt/proxy/message"
	"github.com/shuntmesh/shunt/proxy/reason"
)

// fail answers in place of an application.
func (x *exchange) fail(why reason.Reason) {
	x.shard.options.Stats.Error(x.shard.options.Direction, why)
	h := x.failure(why)
	x.status = h.Status
	x.phase = answering
	switch {
	case x.call:
		x.grpc, _ = h.Get("grpc-status")
		x.down.SendHead(h, true) // and nothing but a head: trailers-only
	case x.request.Method == "HEAD":
		x.down.SendHead(h, true)
	default:
		x.down.SendHead(h, false)
		x.down.SendData([]byte("shunt: "+string(why)+"\n"), true)
	}
	x.finish()
}

func (x *exchange) failure(why reason.Reason) *message.Head {
	h := &message.Head{Kind: message.Response, Status: httpStatus(why), ContentLength: -1, Stable: true}
	add := func(name, value string) { h.Fields = append(h.Fields, &message.Field{Name: name, Value: value}) }
	if x.call {
		h.Status, h.GRPC = 200, true
		add("content-type", "application/grpc")
		add("grpc-status", grpcStatus(why))
		add("grpc-message", "shunt: "+string(why))
	} else {
		h.ContentLength = int64(len("shunt: ") + len(why) + len("\n"))
		add("content-type", "text/plain; charset=utf-8")
		add("content-length", strconv.FormatInt(h.ContentLength, 10))
	}
	add(errorField, string(why))
	if x.shard.options.StripErrors {
		add(errorAtField, x.conn.destination.String())
	}
	return h
}

func httpStatus(why reason.Reason) int {
	switch why {
	case reason.DeadlineExceeded:
		return 504
	case reason.HeaderTooLarge:
		return 431
	case reason.NoConnect:
		return 501
	}
	return 503
}

func grpcStatus(why reason.Reason) string {
	switch why {
	case reason.DeadlineExceeded:
		return grpcstatus.DeadlineExceeded
	case reason.HeaderTooLarge:
		return grpcstatus.ResourceExhausted
	}
	return grpcstatus.Unavailable
}

// broken ends an answer whose endpoint died in the middle: a gRPC one with a
// status, any other by a reset, since the client has its status already.
func (x *exchange) broken(code message.Code) {
	x.cut = true
	x.shard.options.Stats.Error(x.shard.options.Direction, reason.UpstreamReset)
	if !x.call || x.conn.kind != kindHTTP2 {
		if x.down != nil {
			x.down.Reset(message.InternalError)
		}
		x.finish()
		return
	}
	status := grpcstatus.FromHTTP2(uint32(code))
	if code == message.NoError {
		status = grpcstatus.Unavailable
	}
	x.endWith(status, reason.UpstreamReset)
}

// left ends a tunnel whose endpoint takes no more of the client's after it ended its
// own direction (RFC 9113, section 8.1): what servers do when a WebSocket is
// closed, and no failure.
func (x *exchange) left() {
	if x.down != nil && x.down.Unsent() == 0 { // else the client has to get the rest; what it sends is thrown away
		x.down.Reset(message.NoError)
		x.down = nil
	}
	x.finish()
}

// endWith ends a gRPC answer that has begun.
func (x *exchange) endWith(status string, why reason.Reason) {
	x.grpc = status
	x.down.SendHead(&message.Head{Kind: message.Trailers, Stable: true, ContentLength: -1, Fields: []*message.Field{
		{Name: "grpc-status", Value: status},
		{Name: "grpc-message", Value: "shunt: " + string(why)},
		{Name: errorField, Value: string(why)},
	}}, true)
	x.finish()
}

// judge tells the endpoint's balancer what became of the request.
func (x *exchange) judge() {
	failing := x.status >= 502 && x.status <= 504 || x.call && x.grpc == grpcstatus.Unavailable
	switch {
	case failing || x.cut:
		if x.endpoint.Failing(x.shard.worker.Now()) {
			x.shard.options.Stats.Ejected(x.shard.options.Direction)
		}
	case x.answered:
		x.endpoint.Working()
	}
}

func (x *exchange) count() {
	if x.status == 0 {
		return // the client went before there was an answer
	}
	x.conn.requests.Status(x.status)
	if x.call {
		x.conn.requests.GRPC(x.grpc)
	}
}
