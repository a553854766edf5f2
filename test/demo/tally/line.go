// SPDX-License-Identifier: Apache-2.0

// Package tally holds what the demo's client and servers write, and the
// arithmetic over it: shares, time to balance, and which failures a server's
// exit explains. It performs no I/O.
package tally

import (
	"encoding/json"
	"fmt"
	"time"
)

// Step is how much time one Line covers.
const Step = 100 * time.Millisecond

// MaxFailures bounds the failures that one Line tells in full.
const MaxFailures = 256

// Line is what the client writes every Step.
type Line struct {
	Seq         int            `json:"seq"` // from 1, without gaps: a reader that connects again knows where it was
	End         time.Time      `json:"end"` // of the time covered, by the client's clock
	Calls       map[string]int `json:"calls,omitempty"`
	Failed      []Failure      `json:"failed,omitempty"`
	FailedMore  int            `json:"failed_more,omitempty"` // failures beyond MaxFailures
	Connections int            `json:"connections"`           // opened since the start
}

// Failure is one call that failed.
type Failure struct {
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	Code    string    `json:"code"` // of gRPC, such as "Unavailable"
	Message string    `json:"message"`
}

// Exit is what a server writes when it exits at once.
type Exit struct {
	Server   string    `json:"server"`
	At       time.Time `json:"exit"`
	InFlight int64     `json:"in_flight"` // calls that it had read and not answered
}

// ParseLine reads a line of the client.
func ParseLine(text []byte) (Line, error) {
	var l Line
	if err := json.Unmarshal(text, &l); err != nil {
		return Line{}, fmt.Errorf("parse line of the client: %w", err)
	}
	if l.Seq < 1 || l.End.IsZero() {
		return Line{}, fmt.Errorf("parse line of the client: seq %d, end %v (both are needed)", l.Seq, l.End)
	}
	return l, nil
}

// ParseExit reads a line of a server; ok is false for every line but an Exit.
func ParseExit(text []byte) (e Exit, ok bool) {
	if err := json.Unmarshal(text, &e); err != nil {
		return Exit{}, false
	}
	return e, !e.At.IsZero()
}
