// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"strconv"
	"time"
)

// Value is what a Limit is set to. It is a flag.Value.
type Value interface {
	// String is the value as Set takes it.
	String() string
	// Set parses a value that is allowed.
	Set(text string) error
	// Check says whether the value is allowed.
	Check() error
}

// count is a number of things or bytes, in one place or more.
type count struct {
	low, high int
	at        []*int
}

func number(low, high int, at ...*int) *count { return &count{low, high, at} }

func (c *count) String() string {
	if c == nil || len(c.at) == 0 {
		return "" // package flag asks a zero value too
	}
	return strconv.Itoa(*c.at[0])
}

func (c *count) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < c.low || n > c.high {
		return fmt.Errorf("%q is no such number (allowed: %d to %d)", text, c.low, c.high)
	}
	for _, at := range c.at {
		*at = n
	}
	return nil
}

func (c *count) Check() error {
	for _, at := range c.at {
		if *at < c.low || *at > c.high {
			return fmt.Errorf("%d (allowed: %d to %d)", *at, c.low, c.high)
		}
	}
	return nil
}

// duration is a time of at least low.
type duration struct {
	low time.Duration
	at  *time.Duration
}

func span(low time.Duration, at *time.Duration) *duration { return &duration{low, at} }

func (d *duration) String() string {
	if d == nil || d.at == nil {
		return "" // as above
	}
	return d.at.String()
}

func (d *duration) Set(text string) error {
	v, err := time.ParseDuration(text)
	if err != nil || v < d.low {
		return fmt.Errorf("%q is no such duration (allowed: %v or more, a number and a unit such as 500ms, 30s or 2h)", text, d.low)
	}
	*d.at = v
	return nil
}

func (d *duration) Check() error {
	if *d.at < d.low {
		return fmt.Errorf("%v (allowed: %v or more)", *d.at, d.low)
	}
	return nil
}
