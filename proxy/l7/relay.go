// SPDX-License-Identifier: Apache-2.0

package l7

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/shuntmesh/shunt/proxy/grpcstatus"
	"github.com/shuntmesh/shunt/proxy/reason"
)

// relay sends the response on, each piece when it comes.
func (x *exchange) relay(res *http.Response) {
	defer func() { _ = res.Body.Close() }()
	h := x.w.Header()
	for k, v := range endToEnd(res.Header, res.ProtoMajor) {
		h[k] = v
	}
	x.strip(h)
	if res.StatusCode == http.StatusSwitchingProtocols {
		x.upgrade(res)
		return
	}
	for _, k := range []string{"Date", "Content-Type"} {
		if _, ok := h[k]; !ok {
			h[k] = nil // or net/http adds its own
		}
	}
	for k := range res.Trailer {
		h.Add("Trailer", k)
	}
	x.w.WriteHeader(res.StatusCode)
	err := x.copyBody(res)
	trailer := res.Trailer
	x.strip(trailer)
	if err != nil {
		trailer = x.broken(err)
	}
	for k, v := range trailer {
		h[http.TrailerPrefix+k] = v
	}
	if trailer.Get("Grpc-Status") == "" {
		trailer = res.Header // trailers-only
	}
	x.count(res.StatusCode, trailer)
}

func (x *exchange) strip(h http.Header) {
	if x.options.StripErrors {
		delete(h, reason.Header)
		delete(h, reason.HeaderAt)
	}
}

// copyBody flushes what it has, before it may wait for more. Nothing is
// flushed for an empty body: HEADERS with END_STREAM must stay so, since to
// grpc-go HEADERS and an empty DATA are no trailers-only answer.
func (x *exchange) copyBody(res *http.Response) error {
	if res.ContentLength == 0 || res.Body == http.NoBody || x.r.Method == http.MethodHead {
		_, err := io.Copy(io.Discard, res.Body)
		return err
	}
	flush := http.NewResponseController(x.w).Flush
	if err := flush(); err != nil {
		return err
	}
	buf, ok := x.buffers.Get().(*[16 << 10]byte)
	if !ok {
		buf = new([16 << 10]byte)
	}
	defer x.buffers.Put(buf)
	for {
		n, err := res.Body.Read(buf[:])
		if n > 0 {
			if _, err := x.w.Write(buf[:n]); err != nil {
				return err
			}
			if err := flush(); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// broken ends a response whose upstream died in the middle: a gRPC one with a
// status, any other by a reset, since the client has its status already.
func (x *exchange) broken(err error) http.Header {
	if x.r.Context().Err() != nil || !isGRPC(x.r.Header) {
		if x.r.Context().Err() == nil {
			x.options.Stats.Error(x.options.Direction, reason.UpstreamReset)
		}
		panic(http.ErrAbortHandler)
	}
	x.options.Stats.Error(x.options.Direction, reason.UpstreamReset)
	code, stream := grpcstatus.Unavailable, streamError{}
	if errors.As(err, &stream) {
		code = grpcstatus.FromHTTP2(stream.Code)
	}
	return http.Header{
		"Grpc-Status":  {code},
		"Grpc-Message": {"shunt: " + string(reason.UpstreamReset)},
		reason.Header:  {string(reason.UpstreamReset)},
	}
}

// upgrade joins the two connections after 101 Switching Protocols.
func (x *exchange) upgrade(res *http.Response) {
	back, ok := res.Body.(io.ReadWriteCloser)
	if !ok || upgradeType(res.Header) == "" {
		clear(x.w.Header())
		x.fail(reason.UpgradeFailed)
		return
	}
	x.w.WriteHeader(res.StatusCode)
	front, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	x.count(res.StatusCode, nil)
	if err := buffered.Flush(); err != nil {
		_ = front.Close()
		return
	}
	stop := context.AfterFunc(x.upgrades, func() { _ = front.Close(); _ = back.Close() })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { pipe(front, back) })
	pipe(back, buffered.Reader)
	wg.Wait()
	_ = front.Close()
}

// pipe copies one way and passes the end of the stream on, or else closes:
// the other direction then ends too.
func pipe(dst io.WriteCloser, src io.Reader) {
	_, err := io.Copy(struct{ io.Writer }{dst}, struct{ io.Reader }{src})
	if half, ok := dst.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
		return
	}
	_ = dst.Close()
}
