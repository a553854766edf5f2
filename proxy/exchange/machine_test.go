// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/shuntmesh/shunt/proxy/message"
	"github.com/shuntmesh/shunt/proxy/reason"
)

// machine does to exchanges whatever clients, endpoints, discovery and time may,
// in any order.
type machine struct {
	*rig
	downs []*fakeStream
	ups   []*fakeStream // of all servers there ever were
}

// TestMachine: whatever happens, in any order, each request is load as long as
// it lives, is counted once when it has an answer, each byte is credited once
// and when there is room, and no stream outlives its exchange, or the reverse.
func TestMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom([]kind{kindHTTP1, kindHTTP2}).Draw(t, "kind")
		m := &machine{rig: startRig(t, k, 3, nil)}
		defer m.close()
		t.Repeat(map[string]func(*rapid.T){
			"request":         m.newRequest,
			"client data":     m.clientData,
			"client trailers": m.clientTrailers,
			"client reset":    m.clientReset,
			"answer":          m.answer,
			"answer data":     m.answerData,
			"answer trailers": m.answerTrailers,
			"refuse":          m.refuse,
			"drain":           m.drain,
			"fill":            m.fill,
			"discovery":       m.discovery,
			"deadline":        m.deadline,
			"dial fails":      m.dialFails,
			"room":            m.changeRoom,
			"connection dies": m.dies,
			"":                m.check,
		})
		m.finish()
	})
}

// pick draws one of the streams that are not over, or nil.
func pick(t *rapid.T, all []*fakeStream, ok func(*fakeStream) bool) *fakeStream {
	var live []*fakeStream
	for _, s := range all {
		if !s.over && ok(s) {
			live = append(live, s)
		}
	}
	if len(live) == 0 {
		t.Skip("no such stream")
	}
	return rapid.SampledFrom(live).Draw(t, "stream")
}

// sends tells whether a client may send: through a tunnel of HTTP/1 once it is
// open.
func (m *machine) sends(s *fakeStream) bool {
	return !s.recvEnded && (m.client.kind == kindHTTP2 || !s.tunnel || !s.server)
}

// hasTrailers tells whether trailers may end a message: no tunnel of HTTP/1.
func (m *machine) hasTrailers(x *exchange) bool {
	return m.client.kind == kindHTTP2 || x.request.Method != "CONNECT"
}

func hasHead(s *fakeStream) bool   { return !s.recvEnded && s.answered }
func wantsHead(s *fakeStream) bool { return !s.recvEnded && !s.answered }

func (m *machine) newRequest(t *rapid.T) {
	h := request()
	switch rapid.IntRange(0, 4).Draw(t, "what") {
	case 0, 1:
		h = grpcRequest(field("grpc-timeout", "1H"))
	case 2:
		h = rapid.SampledFrom([]func(...*message.Field) *message.Head{request, grpcRequest}).Draw(t, "gRPC")()
		h.Method = "CONNECT"
	case 3:
		h.Method = rapid.SampledFrom([]string{"HEAD", "GET"}).Draw(t, "method")
	}
	full := rapid.Bool().Draw(t, "endpoint without room")
	for _, f := range m.servers {
		f.full = full
	}
	m.downs = append(m.downs, m.request(h, h.Method != "CONNECT" && rapid.Bool().Draw(t, "end")))
}

func (m *machine) clientData(t *rapid.T) {
	s := pick(t, m.downs, m.sends)
	n := rapid.SampledFrom([]int{0, 1, 100, 40 << 10}).Draw(t, "bytes")
	end := rapid.Bool().Draw(t, "end")
	m.do(func() {
		x, before := s.h.(*exchange), s.credited
		finished := x.phase == done
		s.onData(kb(40)[:n], end)
		if hasNone := x.up == nil || x.up.Unsent() > 0; x.down == s && !end && x.phase != done && !finished && hasNone && s.credited != before {
			m.Errorf("%d bytes were credited with no room for them", s.credited-before)
		}
	})
}

func (m *machine) clientTrailers(t *rapid.T) {
	s := pick(t, m.downs, func(s *fakeStream) bool {
		x := s.h.(*exchange)
		return m.sends(s) && (x.phase == done || m.hasTrailers(x))
	})
	m.do(func() { s.onHead(trailers(field("t", "1")), true) })
}

func (m *machine) clientReset(t *rapid.T) {
	s := pick(t, m.downs, func(*fakeStream) bool { return true })
	m.do(func() { s.onReset(message.Reset{Code: message.Cancel}) })
}

func (m *machine) answer(t *rapid.T) {
	s := pick(t, m.ups, wantsHead)
	h := response(rapid.SampledFrom([]int{103, 200, 404, 503}).Draw(t, "status"))
	if rapid.Bool().Draw(t, "unavailable") {
		h.Fields = append(h.Fields, field("grpc-status", "14"))
	}
	if rapid.IntRange(0, 4).Draw(t, "told") == 0 {
		h.Fields = append(h.Fields, field("shunt-error", "connect-refused"), field("shunt-error-at", m.at(s)))
	}
	end := !h.Informational() && rapid.Bool().Draw(t, "end")
	m.do(func() { s.onHead(h, end) })
}

func (m *machine) answerData(t *rapid.T) {
	s := pick(t, m.ups, hasHead)
	n := rapid.SampledFrom([]int{0, 1, 100}).Draw(t, "bytes")
	end := rapid.Bool().Draw(t, "end")
	m.do(func() {
		x, before := (*exchange)(s.h.(*answer)), s.credited
		s.onData(kb(1)[:n], end)
		if x.up == s && x.down != nil && x.down.Unsent() > 0 && x.phase != done && s.credited != before {
			m.Errorf("%d bytes were credited with no room for them", s.credited-before)
		}
	})
}

func (m *machine) answerTrailers(t *rapid.T) {
	s := pick(t, m.ups, func(s *fakeStream) bool { return hasHead(s) && m.hasTrailers((*exchange)(s.h.(*answer))) })
	m.do(func() { s.onHead(trailers(field("grpc-status", "0")), true) })
}

func (m *machine) refuse(t *rapid.T) {
	s := pick(t, m.ups, func(*fakeStream) bool { return true })
	reset := rapid.SampledFrom([]message.Reset{
		{Code: message.RefusedStream, Unprocessed: true},
		{Code: message.Cancel},
		{Code: message.ProtocolError, Malformed: true},
	}).Draw(t, "reset")
	m.do(func() { s.onReset(reset) })
}

func (m *machine) drain(t *rapid.T) {
	s := pick(t, slices.Concat(m.downs, m.ups), func(s *fakeStream) bool { return s.full })
	m.do(func() { s.drain() })
}

func (m *machine) fill(t *rapid.T) {
	s := pick(t, slices.Concat(m.downs, m.ups), func(s *fakeStream) bool { return !s.full })
	m.do(func() { s.full = true })
}

func (m *machine) discovery(t *rapid.T) {
	m.unresolved = rapid.Bool().Draw(t, "unresolved")
	if len(m.ready) > 0 {
		rapid.SampledFrom(m.ready).Draw(t, "ready")()
	}
}

func (m *machine) deadline(t *rapid.T) {
	s := pick(t, m.downs, func(s *fakeStream) bool {
		x := s.h.(*exchange)
		return x.phase != done && x.call && !x.tunnel
	})
	m.do(func() {
		x := s.h.(*exchange)
		x.deadline.Stop()
		x.deadline.F()
	})
}

func (m *machine) dialFails(t *rapid.T) {
	i := rapid.IntRange(0, len(m.endpoints)-1).Draw(t, "endpoint")
	key, dialing := groupKey{m.endpoints[i].Addr(), m.client.kind}, 0
	m.do(func() {
		if g := m.shard.pool.groups[key]; g != nil {
			dialing = g.dialing
		}
	})
	if dialing == 0 {
		t.Skip("nothing is dialled")
	}
	m.endDial(i, nil, reason.ConnectRefused)
}

func (m *machine) changeRoom(t *rapid.T) {
	f := rapid.SampledFrom(m.servers).Draw(t, "server")
	room := rapid.IntRange(0, 3).Draw(t, "room")
	m.do(func() { f.room = room; f.changed() })
}

// dies closes a connection; another takes its place.
func (m *machine) dies(t *rapid.T) {
	i := rapid.IntRange(0, len(m.servers)-1).Draw(t, "server")
	m.do(func() { m.servers[i].conn.Closed(nil) })
	m.servers[i] = m.newServer(i, m.client.kind)
}

// check compares what is with what must be.
func (m *machine) check(*rapid.T) { m.do(m.invariants) }

func (m *machine) invariants() {
	for _, f := range m.servers {
		for _, s := range f.streams {
			if !slices.Contains(m.ups, s) {
				m.ups = append(m.ups, s)
			}
		}
	}
	load := map[string]int64{}
	exchanges := map[*exchange]bool{}
	for _, s := range m.downs {
		if s.over {
			continue
		}
		x := s.h.(*exchange)
		if x.down != s || exchanges[x] || slices.Contains(m.shard.free, x) {
			m.Errorf("a client's stream has an exchange that is another's")
			continue
		}
		exchanges[x] = true
		if x.phase == done {
			continue
		}
		if x.endpoint != nil {
			load[x.endpoint.Addr().String()]++
		}
		if has := x.phase == sent || x.phase == answering; has != (x.up != nil) || (x.phase == connecting) != (x.group != nil) {
			m.Errorf("phase %d with stream %v, group %v", x.phase, x.up, x.group)
		}
		if s.given-s.credited != x.owed {
			m.Errorf("%d of %d bytes of the client are credited, and %d are owed", s.credited, s.given, x.owed)
		}
		if x.up != nil && x.up.Unsent() == 0 && x.owed > 0 {
			m.Errorf("%d bytes are owed to the client, though there is room", x.owed)
		}
	}
	for _, s := range m.ups {
		if s.over {
			continue
		}
		x := (*exchange)(s.h.(*answer))
		if x.up != s || slices.Contains(m.shard.free, x) {
			m.Errorf("an endpoint's stream has an exchange that is another's")
			continue
		}
		if !exchanges[x] { // a tunnel that has ended, but for what waits
			if load[x.endpoint.Addr().String()]++; x.phase != answering || x.down != nil || x.up.Unsent() == 0 {
				m.Errorf("an endpoint's stream has no client")
			}
			continue
		}
		if s.given-s.credited != x.owedBack {
			m.Errorf("%d of %d bytes of the endpoint are credited, and %d are owed", s.credited, s.given, x.owedBack)
		}
		if x.down.Unsent() == 0 && x.owedBack > 0 {
			m.Errorf("%d bytes are owed to the endpoint, though there is room", x.owedBack)
		}
	}
	for i, e := range m.endpoints {
		if want := load[e.Addr().String()]; e.Active() != want {
			m.Errorf("endpoint %d has load %d, want %d", i, e.Active(), want)
		}
	}
	for _, x := range m.shard.free {
		if x.phase != done || x.up != nil || x.down != nil || x.endpoint != nil || x.body.bytes != nil {
			m.Errorf("a free exchange holds %+v", x)
		}
	}
}

// finish has all clients go, endpoints take what waits, and looks at what is left.
func (m *machine) finish() {
	answers := 0
	for _, s := range m.downs {
		m.do(func() { s.onReset(message.Reset{Code: message.Cancel}) })
		if s.status() != 0 {
			answers++
		}
	}
	for _, s := range m.ups { // of tunnels that have ended
		m.do(func() { s.drain() })
	}
	for _, s := range slices.Concat(m.downs, m.ups) {
		if !s.over {
			m.Errorf("a stream is left open")
		}
		if !s.gone && s.credited != s.given {
			m.Errorf("%d of %d bytes are credited", s.credited, s.given)
		}
	}
	counted := 0
	for _, n := range m.metrics("requests_total") {
		counted += n
	}
	if counted != answers {
		m.Errorf("%d requests are counted of %d answers", counted, answers)
	}
	m.wantIdle()
}
