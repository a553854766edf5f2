// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"context"
	"log/slog"
	"sync/atomic"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/delta/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Server speaks Delta ADS for a Store.
type Server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	delta delta.Server
}

// NewServer returns a server whose streams end, without an error, when ctx
// does: that is how a graceful stop gets rid of streams that live for ever.
func NewServer(ctx context.Context, store *Store, maxStreams int, log *slog.Logger) *Server {
	w := &watcher{metrics: store.metrics, maxStreams: int64(maxStreams), log: log}
	return &Server{delta: delta.NewServer(ctx, store, w, delta.DeactivateLegacyWildcard())}
}

// DeltaAggregatedResources serves one stream. The headers go out at once, so
// that a proxy which asks for nothing yet knows that it was let in.
func (s *Server) DeltaAggregatedResources(str discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	if err := str.SendHeader(nil); err != nil {
		return err
	}
	return s.delta.DeltaStreamHandler(str, "")
}

// StreamAggregatedResources refuses the state-of-the-world protocol by name.
func (s *Server) StreamAggregatedResources(discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return errNotDelta()
}

// watcher counts and limits streams. It implements delta.Callbacks.
type watcher struct {
	metrics    *Metrics
	log        *slog.Logger
	maxStreams int64
	open       atomic.Int64
}

var _ delta.Callbacks = (*watcher)(nil)

// OnDeltaStreamOpen refuses a stream above the limit. OnDeltaStreamClosed is
// called for it too.
func (w *watcher) OnDeltaStreamOpen(context.Context, int64, string) error {
	n := w.open.Add(1)
	w.metrics.streams.Set(float64(n))
	if n > w.maxStreams {
		w.metrics.refused.WithLabelValues("too_many_streams").Inc()
		return status.Errorf(codes.ResourceExhausted, "%d streams are open here (add replicas of discovery, or raise -max-streams)", w.maxStreams)
	}
	w.metrics.opened.Inc()
	return nil
}

// OnDeltaStreamClosed counts.
func (w *watcher) OnDeltaStreamClosed(int64, *corev3.Node) {
	w.metrics.streams.Set(float64(w.open.Add(-1)))
}

// OnStreamDeltaRequest tells people what a proxy could not use. The resource is
// not sent again until it changes.
func (w *watcher) OnStreamDeltaRequest(_ int64, req *discoveryv3.DeltaDiscoveryRequest) error {
	if detail := req.GetErrorDetail(); detail != nil {
		w.metrics.nacks.WithLabelValues(nackType(req.GetTypeUrl())).Inc()
		w.log.Warn("proxy refused resources", "type", req.GetTypeUrl(), "node", req.GetNode().GetId(), "reason", detail.GetMessage())
	}
	return nil
}

// nackType keeps a client's invention out of the metrics' labels.
func nackType(typ string) string {
	for _, served := range servedTypes() {
		if typ == served {
			return short(typ)
		}
	}
	return "other"
}

// OnStreamDeltaResponse does nothing; pushes are counted where they are built.
func (w *watcher) OnStreamDeltaResponse(int64, *discoveryv3.DeltaDiscoveryRequest, *discoveryv3.DeltaDiscoveryResponse) {
}
