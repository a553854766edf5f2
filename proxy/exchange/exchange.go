// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"strings"
	"time"

	"github.com/shuntmesh/shunt/proxy/attempt"
	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/message"
	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/route"
	"github.com/shuntmesh/shunt/proxy/stats"
)

// phase is how far an exchange is. It only grows, but for an attempt that is
// followed by another.
type phase uint8

const (
	picking    phase = iota // discovery is asked where the request may go
	connecting              // a connection to the endpoint is waited for
	sent                    // the endpoint has the head of the request
	answering               // the client has the head of the answer
	done
)

// exchange is one request and its answer. As a message.Handler it hears the
// client; answer is the Handler that hears the endpoint.
type exchange struct {
	shard *shard
	conn  *clientConn
	down  message.Stream
	up    message.Stream // from sent on

	phase    phase
	waits    int  // for discovery; tells apart those that are over
	tunnel   bool // after 101 or CONNECT: bytes both ways, which end one by one
	answered bool // the endpoint's direction has ended
	cut      bool // the endpoint broke off
	attempts attempt.Attempts
	endpoint *balance.Endpoint // acquired, from connecting on
	group    *group            // that this waits in, while connecting
	deadline loop.Timer
	expires  time.Time // when the call's time is over; zero is never

	request *message.Head
	call    bool         // of gRPC
	copied  message.Head // what request points to unless that is Stable
	body    body

	// owed and owedBack are bytes of the client and of the endpoint that are not
	// credited: the other side has had no room for them yet.
	owed, owedBack int

	status int
	grpc   string // grpc-status of the answer
}

// OnHead takes the head or the trailers of the request.
func (x *exchange) OnHead(h *message.Head, end bool) {
	if h.Kind == message.Trailers {
		x.onTrailers(h)
		return
	}
	x.request = h
	if !h.Stable {
		h.CopyTo(&x.copied)
		x.request = &x.copied
	}
	x.call = h.GRPC && h.Method != "CONNECT"
	x.body.ended = end
	x.attempts = attempt.Attempts{
		Dispatcher: x.conn.dispatcher,
		Request:    route.Request{Authority: h.Authority, Path: originForm(h.Path), Method: h.Method},
		First:      x.conn.takeFirst(),
	}
	x.startDeadline()
	x.try()
}

func (x *exchange) onTrailers(h *message.Head) {
	if x.phase == done {
		return
	}
	x.body.ended = true
	x.body.keepTrailers(h)
	if x.phase >= sent {
		x.up.SendHead(h, true)
		x.finishIfEnded()
	}
}

// OnData takes a piece of the request's body.
func (x *exchange) OnData(p []byte, end bool) {
	if x.phase == done {
		if x.down != nil { // a client that reads its answer when it has sent all
			x.down.Credit(len(p))
		}
		return
	}
	x.owed += len(p)
	x.body.ended = end
	if x.phase < answering {
		x.body.keep(p, x.phase == sent, x.shard)
	}
	if x.phase < sent {
		return
	}
	x.up.SendData(p, end)
	x.creditClient()
	x.finishIfEnded()
}

// OnReset ends the exchange for a client that has gone.
func (x *exchange) OnReset(message.Reset) {
	if x.phase == done {
		return
	}
	x.dropAttempt(message.Cancel)
	x.down = nil
	x.finish()
}

// OnDrained lets the endpoint send on.
func (x *exchange) OnDrained() {
	if x.up == nil {
		return
	}
	if x.owedBack > 0 {
		n := x.owedBack
		x.owedBack = 0
		x.up.Credit(n)
	}
	x.letClientGo()
}

// try sends the request to the next endpoint, or answers why there is none.
func (x *exchange) try() {
	x.phase = picking
	e, why := x.attempts.Next(x.shard.worker.Now())
	switch {
	case e != nil:
		x.endpoint = e
		e.Acquire()
		x.phase = connecting
		x.shard.pool.open(e.Addr(), x)
	case why == reason.Unresolved:
		x.shard.wait(x)
	default:
		x.fail(why)
	}
}

// opened sends what there is of the request on a stream to the endpoint.
func (x *exchange) opened(up message.Stream) {
	x.up, x.phase = up, sent
	more := len(x.body.bytes) > 0 || x.body.trailers != nil
	up.SendHead(x.request, x.body.ended && !more)
	if len(x.body.bytes) > 0 {
		up.SendData(x.body.bytes, x.body.ended && x.body.trailers == nil)
	}
	if x.body.trailers != nil {
		up.SendHead(x.body.trailers, true)
	}
	x.body.bound(x.shard)
	x.creditClient()
}

// creditClient lets the client send on once the endpoint has had room.
func (x *exchange) creditClient() {
	if x.owed > 0 && x.up.Unsent() == 0 {
		n := x.owed
		x.owed = 0
		x.down.Credit(n)
	}
}

// attemptFailed sends the request elsewhere where that is safe, or answers.
func (x *exchange) attemptFailed(why reason.Reason) {
	x.letGo()
	if x.cut = why == reason.UpstreamReset; x.cut {
		x.judge()
	}
	e := x.release()
	again := x.attempts.Failed(e, why, x.shard.worker.Now())
	if again && x.body.lost {
		x.shard.limitHit(stats.LimitReplay)
		again = false
	}
	if !again {
		x.fail(why)
		return
	}
	x.shard.options.Stats.Retry(x.shard.options.Direction, why)
	x.try()
}

// dropAttempt gives up what is under way with the endpoint.
func (x *exchange) dropAttempt(code message.Code) {
	if x.group != nil {
		x.group.leave(x)
	}
	if x.up != nil {
		x.up.Reset(code)
		x.letGo()
	}
	x.release()
}

// letGo forgets the endpoint's stream. Of one that we ended, the core waits for
// what is not credited before it uses it again.
func (x *exchange) letGo() {
	if x.up != nil && x.owedBack > 0 {
		x.up.Credit(x.owedBack)
	}
	x.up, x.owedBack = nil, 0
}

func (x *exchange) release() *balance.Endpoint {
	e := x.endpoint
	if e != nil {
		e.Release()
		x.endpoint = nil
	}
	return e
}

// finishIfEnded ends an exchange when all has gone: of a message that is the
// answer, of a tunnel also what the endpoint has had no room for yet.
func (x *exchange) finishIfEnded() {
	switch {
	case !x.answered:
	case !x.tunnel || x.body.ended && x.up.Unsent() == 0:
		x.finish()
	case x.body.ended:
		x.creditAll()
		x.letClientGo()
	}
}

// letClientGo forgets the client's stream when both its directions have ended
// and all was taken: it may be another's then.
func (x *exchange) letClientGo() {
	if x.answered && x.body.ended && x.down.Unsent() == 0 {
		x.down = nil
	}
}

// creditAll gives the client back what nobody waits for any more.
func (x *exchange) creditAll() {
	if x.down != nil && x.owed > 0 {
		x.down.Credit(x.owed)
	}
	x.owed = 0
}

// finish is the last thing that happens to an exchange.
func (x *exchange) finish() {
	if x.phase == done {
		return
	}
	x.phase = done
	whole := x.answered && x.body.ended
	if x.up != nil && (!whole || x.up.Unsent() > 0) {
		x.up.Reset(message.Cancel)
	}
	x.letGo()
	x.creditAll()
	if x.endpoint != nil {
		x.judge()
	}
	x.release()
	x.deadline.Stop()
	x.body.drop(x.shard)
	x.count()
	x.conn.exchangeEnded()
	// A stream with bytes left may still call back.
	if x.down == nil || x.down.Unsent() == 0 {
		x.shard.recycle(x)
	}
}

// originForm is what routes match: a client that takes the proxy for one in the
// sense of RFC 9112, 3.2.2, sends the target whole.
func originForm(target string) string {
	_, rest, absolute := strings.Cut(target, "://")
	if !absolute || target[0] == '/' {
		return target
	}
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		return rest[i:]
	}
	return "/"
}
