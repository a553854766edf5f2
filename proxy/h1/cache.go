// SPDX-License-Identifier: Apache-2.0

package h1

import (
	"hash/maphash"

	"github.com/shuntmesh/shunt/proxy/message"
)

// A client on a kept connection sends much the same head again and again, and
// so does a server that answers it. Both directions are remembered as a whole:
// bytes -> Head here, Head -> bytes in encodings. Each connection has its own,
// so that nobody can tell by time what others send.
const (
	cachedHeads = 2
	// maxCached is how long a head may be to be remembered, in bytes.
	maxCached = 1 << 10
	// remembered is how many heads must come in between for one to be new.
	remembered = 4
)

// headCache has the heads that came at least twice. The nil one is empty.
type headCache struct {
	seed    maphash.Seed
	seen    [remembered]uint64
	next    int
	entries [cachedHeads]cachedHead
}

type cachedHead struct {
	bytes  string
	used   bool // since it was last asked to make room
	parsed parsed
}

// find returns the head which in begins with, and its length. That it ends
// there needs no look: the bytes say so.
func (c *headCache) find(in []byte) (*parsed, int) {
	if c == nil {
		return nil, 0
	}
	for i := range c.entries {
		e := &c.entries[i]
		if n := len(e.bytes); n > 0 && len(in) >= n && string(in[:n]) == e.bytes {
			e.used = true
			return &e.parsed, n
		}
	}
	return nil, 0
}

// offer keeps p and its bytes if they came before, and none is in the way that
// is in use. It returns c, or the cache that c had to become.
func (c *headCache) offer(b []byte, p *parsed) *headCache {
	if len(b) > maxCached {
		return c
	}
	if c == nil {
		c = &headCache{seed: maphash.MakeSeed()}
	}
	hash := maphash.Bytes(c.seed, b)
	for _, h := range c.seen {
		if h == hash {
			c.keep(b, p)
			return c
		}
	}
	c.seen[c.next%remembered] = hash
	c.next++
	return c
}

func (c *headCache) keep(b []byte, p *parsed) {
	for i := range c.entries {
		e := &c.entries[i]
		if e.used {
			e.used = false
			continue
		}
		head := &message.Head{}
		p.head.CopyTo(head)
		head.Stable = true
		e.bytes, e.parsed, e.used = string(b), *p, true
		e.parsed.head = head
		return
	}
}

// encodings has the bytes of heads that were sent at least twice. Only Stable
// ones can be known again by their address: it stays theirs while it is here.
type encodings [cachedHeads]encoding

type encoding struct {
	head  *message.Head
	as    form
	used  bool
	again bool   // it was sent before
	bytes []byte // empty until it is sent again
}

// find returns where the bytes of h are, or belong: nil where there is no place.
func (c *encodings) find(h *message.Head, as form) *encoding {
	for i := range c {
		if e := &c[i]; e.head == h && e.as == as {
			e.used = true
			return e
		}
	}
	for i := range c {
		e := &c[i]
		if e.used {
			e.used = false
			continue
		}
		*e = encoding{head: h, as: as, used: true, bytes: e.bytes[:0]}
		return e
	}
	return nil
}
