// SPDX-License-Identifier: Apache-2.0

package l7

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/shuntmesh/shunt/proxy/attempt"
	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/grpcstatus"
	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/replay"
	"github.com/shuntmesh/shunt/proxy/route"
	"github.com/shuntmesh/shunt/proxy/stats"
)

// exchange is one request and its response.
type exchange struct {
	*Server
	conn *conn
	w    http.ResponseWriter
	r    *http.Request
	kind stats.Kind
	body *replay.Body // nil where the request has none
}

func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(connKey{}).(*conn)
	defer c.dropEarly()
	if c.streams.Add(1) == int64(s.options.MaxStreams) {
		s.options.Stats.LimitHit(s.options.Direction, stats.LimitStreams)
	}
	defer c.streams.Add(-1)
	x := &exchange{Server: s, conn: c, w: w, r: r, kind: stats.HTTP2}
	if r.ProtoMajor == 1 {
		x.kind = stats.HTTP1
		_ = http.NewResponseController(w).EnableFullDuplex()
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
	}
	if headerBytes(r) > s.options.MaxHeaderBytes {
		s.options.Stats.LimitHit(s.options.Direction, stats.LimitHeaderBytes)
		x.fail(reason.HeaderTooLarge)
		return
	}
	if r.ContentLength != 0 {
		x.body = replay.NewBody(r.Body)
	}
	res, e, why := x.send() //nolint:bodyclose // relay closes it
	if res == nil {
		if r.Context().Err() != nil {
			panic(http.ErrAbortHandler) // the client has gone
		}
		x.fail(why)
		return
	}
	defer e.Release()
	x.relay(res)
}

// send returns a response and the endpoint that gave it, acquired, or why
// there is none.
func (x *exchange) send() (*http.Response, *balance.Endpoint, reason.Reason) {
	a := &attempt.Attempts{
		Dispatcher: x.conn.dispatcher,
		Request:    route.Request{Authority: x.r.Host, Path: x.r.RequestURI, Method: x.r.Method},
	}
	if early := x.conn.early.Load(); early != nil {
		a.First = early.Endpoint // it was picked for this client, just now
	}
	for last := reason.None; ; x.options.Stats.Retry(x.options.Direction, last) {
		e, why := a.Next(x.r.Context())
		if e == nil {
			return nil, nil, why
		}
		out, ok := x.outgoing(e)
		if !ok {
			x.options.Stats.LimitHit(x.options.Direction, stats.LimitReplay)
			return nil, nil, last
		}
		e.Acquire()
		res, why := x.try(out, e)
		if why == reason.None {
			e.Reached()
			if x.body != nil {
				x.body.Commit()
			}
			return res, e, why
		}
		e.Release()
		if last = why; !a.Failed(e, why, time.Now()) || x.r.Context().Err() != nil {
			return nil, nil, why
		}
	}
}

func (x *exchange) try(out *http.Request, e *balance.Endpoint) (*http.Response, reason.Reason) {
	res, err := x.roundTrip(out, e)
	if err != nil {
		return nil, classify(err)
	}
	why := reason.Reason(res.Header.Get(reason.Header))
	if why.Safe() && res.Header.Get(reason.HeaderAt) == e.Addr().String() && !x.options.StripErrors {
		_ = res.Body.Close()
		return nil, why
	}
	return res, reason.None
}

func (x *exchange) roundTrip(out *http.Request, e *balance.Endpoint) (*http.Response, error) {
	if x.kind == stats.HTTP1 {
		return x.h1.RoundTrip(out)
	}
	c, err := x.h2.get(out.Context(), e.Addr())
	if err != nil {
		return nil, err
	}
	return c.RoundTrip(out)
}

// outgoing is the request for one endpoint; false means that its body can't be
// sent once more.
func (x *exchange) outgoing(e *balance.Endpoint) (*http.Request, bool) {
	ctx := httptrace.WithClientTrace(x.r.Context(), &httptrace.ClientTrace{Got1xxResponse: x.informational})
	out := x.r.WithContext(context.WithValue(ctx, earlyKey{}, x.conn))
	out.URL = &url.URL{}
	*out.URL = *x.r.URL
	out.URL.Scheme, out.URL.Host = "http", e.Addr().String()
	out.RequestURI, out.Close = "", false
	out.Header = endToEnd(x.r.Header, x.r.ProtoMajor)
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = nil // or net/http adds its own
	}
	out.Body = http.NoBody
	if x.body != nil {
		a := x.body.Next()
		if a == nil {
			return nil, false
		}
		out.Body = a
	}
	return out, true
}

// informational passes 1xx on. 100 is net/http's own affair on both sides, 101
// is a final response.
func (x *exchange) informational(code int, header textproto.MIMEHeader) error {
	if code == http.StatusContinue || code == http.StatusSwitchingProtocols {
		return nil
	}
	h := x.w.Header()
	for k, v := range header {
		h[k] = v
	}
	x.w.WriteHeader(code)
	for k := range header {
		delete(h, k)
	}
	return nil
}

func headerBytes(r *http.Request) int {
	n := len(r.Method) + len(r.RequestURI) + len(r.Host)
	for k, vv := range r.Header {
		for _, v := range vv {
			n += len(k) + len(v)
		}
	}
	return n
}

// endToEnd copies a header without the fields of one hop (RFC 9110, 7.6.1).
// Values are shared.
func endToEnd(h http.Header, major int) http.Header {
	out := make(http.Header, len(h)+1)
	for k, v := range h {
		out[k] = v
	}
	if major != 1 {
		return out
	}
	upgrade := upgradeType(h)
	for _, v := range h["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			delete(out, textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)))
		}
	}
	for _, k := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Transfer-Encoding", "Upgrade"} {
		delete(out, k)
	}
	if strings.Contains(strings.ToLower(strings.Join(h["Te"], ",")), "trailers") {
		out["Te"] = []string{"trailers"}
	}
	if upgrade != "" {
		out["Connection"], out["Upgrade"] = []string{"Upgrade"}, []string{upgrade}
	}
	return out
}

func upgradeType(h http.Header) string {
	if strings.Contains(strings.ToLower(strings.Join(h["Connection"], ",")), "upgrade") {
		return h.Get("Upgrade")
	}
	return ""
}

func isGRPC(h http.Header) bool { return grpcstatus.IsCall(h.Get("Content-Type")) }

// fail answers in place of an application.
func (x *exchange) fail(why reason.Reason) {
	x.options.Stats.Error(x.options.Direction, why)
	h := x.w.Header()
	h.Set(reason.Header, string(why))
	if x.options.StripErrors {
		h.Set(reason.HeaderAt, x.conn.LocalAddr().String())
	}
	status := http.StatusServiceUnavailable
	if why == reason.HeaderTooLarge {
		status = http.StatusRequestHeaderFieldsTooLarge
	}
	if isGRPC(x.r.Header) {
		status = http.StatusOK // and nothing but a header: trailers-only
		h.Set("Content-Type", "application/grpc")
		h.Set("Grpc-Status", grpcstatus.Unavailable)
		h.Set("Grpc-Message", "shunt: "+string(why))
		h["Content-Length"] = nil
	}
	x.count(status, h)
	x.w.WriteHeader(status)
	if status != http.StatusOK {
		_, _ = x.w.Write([]byte("shunt: " + string(why) + "\n"))
	}
}

func (x *exchange) count(status int, grpc http.Header) {
	service := x.conn.dispatcher.Service()
	x.options.Stats.Request(x.options.Direction, service, x.kind, status)
	if isGRPC(x.r.Header) {
		x.options.Stats.GRPC(x.options.Direction, service, grpc.Get("Grpc-Status"))
	}
}
