// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
)

// maxServices bounds the label "service". What comes later is counted as
// "other": in a sidecar it takes a scan of ports to get there.
const maxServices = 500

type requestsKey struct {
	direction Direction
	service   string
	protocol  Kind
}

// Requests counts the requests to one service. A counter appears with the first
// request that it counts.
type Requests struct {
	stats   *Stats
	key     requestsKey
	classes [10]atomic.Pointer[metrics.Counter] // by the first digit of the status
	codes   [17]atomic.Pointer[metrics.Counter] // by gRPC's status code
	none    atomic.Pointer[metrics.Counter]
	other   atomic.Pointer[metrics.Counter]
}

// Requests returns the counters of a service.
func (s *Stats) Requests(d Direction, service string, protocol Kind) *Requests {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.services[service]; !ok {
		if len(s.services) >= maxServices {
			service = "other"
		}
		s.services[service] = struct{}{}
	}
	key := requestsKey{d, service, protocol}
	r := s.requests[key]
	if r == nil {
		r = &Requests{stats: s, key: key}
		s.requests[key] = r
	}
	return r
}

// Status counts a request by the class of its status ("2xx").
func (r *Requests) Status(status int) {
	class := status / 100
	if class < 1 || class >= len(r.classes) {
		return // no protocol lets it through
	}
	r.count(&r.classes[class], func() string {
		return fmt.Sprintf("shunt_proxy_requests_total{direction=%q,service=%q,protocol=%q,class=\"%dxx\"}",
			r.key.direction, r.key.service, r.key.protocol, class)
	})
}

// GRPC counts a gRPC answer by its status code, a decimal number. The peer
// chose it, so the label is bounded: "none" where there is no status, "other"
// where it is none of gRPC's.
func (r *Requests) GRPC(status string) {
	at, label := &r.other, "other"
	if status == "" {
		at, label = &r.none, "none"
	} else if code, err := strconv.Atoi(status); err == nil && code >= 0 && code < len(r.codes) && len(status) <= 2 {
		at, label = &r.codes[code], strconv.Itoa(code)
	}
	r.count(at, func() string {
		return fmt.Sprintf("shunt_proxy_grpc_responses_total{direction=%q,service=%q,grpc_status=%q}",
			r.key.direction, r.key.service, label)
	})
}

func (r *Requests) count(at *atomic.Pointer[metrics.Counter], name func() string) {
	c := at.Load()
	if c == nil {
		c = r.stats.set.GetOrCreateCounter(name())
		at.Store(c)
	}
	c.Inc()
}
