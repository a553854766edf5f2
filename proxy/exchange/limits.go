// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"errors"
	"syscall"
	"time"

	"github.com/shuntmesh/shunt/proxy/loop"
	"github.com/shuntmesh/shunt/proxy/stats"
)

// Limits bound what requests may hold beside what is in the cores, and for how
// long connections are kept.
type Limits struct {
	// MaxReplay is how many bytes of a request's body are kept for another
	// attempt, until the first has an answer.
	MaxReplay int
	// MaxEndpointConns is how many connections of HTTP/2 one worker opens to one
	// address because the others have all the streams that the endpoint allows.
	MaxEndpointConns int
	// HeaderTimeout is the time for the head of an HTTP/1 request, once it has
	// begun. It is looked at so often: one may take twice as long.
	HeaderTimeout time.Duration
	// SettingsTimeout is the time for a peer to acknowledge SETTINGS (RFC 9113,
	// section 6.5.3).
	SettingsTimeout time.Duration
	// IdleHTTP1 and IdleHTTP2 are how long connections to endpoints may be idle.
	// The one of HTTP/1 is best below the 5 s after which common servers close
	// theirs: who closes first wins the race against the next request.
	IdleHTTP1, IdleHTTP2 time.Duration
}

// DefaultLimits returns what a sidecar runs with.
func DefaultLimits() Limits {
	return Limits{
		MaxReplay:        64 << 10,
		MaxEndpointConns: 64,
		HeaderTimeout:    10 * time.Second,
		SettingsTimeout:  10 * time.Second,
		IdleHTTP1:        4 * time.Second,
		IdleHTTP2:        5 * time.Minute,
	}
}

func (s *shard) limitHit(limit stats.Limit) { s.options.Stats.LimitHit(s.options.Direction, limit) }

// coreLimitHit takes the name of a limit of a protocol core.
func (s *shard) coreLimitHit(name string) { s.limitHit(stats.Limit(name)) }

// closed counts the limit that ended a connection, if one did.
func (s *shard) closed(err error) {
	if err != nil && errors.Is(err, loop.ErrCloseTimeout) {
		s.limitHit(stats.LimitClose)
	}
}

// notAdopted counts a connection that the loop could not take over.
func (s *shard) notAdopted(err error) {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		s.limitHit(stats.LimitDescriptors)
	}
}
