// SPDX-License-Identifier: Apache-2.0

package h2

import (
	"slices"

	"github.com/shuntmesh/shunt/proxy/message"
)

// Pool is what the connections of one worker share: objects of streams, and
// heads that come again and again. The zero Pool is ready to use.
type Pool struct {
	free  []*stream
	ended []*stream // not to be used again within the present call from the loop
	depth int

	heads   map[headKey]*commonHead
	fields  []*message.Field // of the block that is being decoded
	scratch message.Head     // of heads that are not Stable
}

const (
	poolStreams = 1024
	poolHeads   = 512
)

func (p *Pool) enter() { p.depth++ }

func (p *Pool) exit() {
	if p.depth--; p.depth > 0 || len(p.ended) == 0 {
		return
	}
	n := min(len(p.ended), poolStreams-len(p.free))
	p.free = append(p.free, p.ended[:n]...)
	clear(p.ended)
	p.ended = p.ended[:0]
}

// stream returns an object for a stream.
func (p *Pool) stream() *stream {
	if n := len(p.free); n > 0 {
		s := p.free[n-1]
		p.free[n-1] = nil
		p.free = p.free[:n-1]
		return s
	}
	return &stream{}
}

// retire takes back what stream returned. The methods of a retired stream do
// nothing.
func (p *Pool) retire(s *stream) {
	*s = stream{waiting: chunks{list: s.waiting.list}}
	p.ended = append(p.ended, s)
}

// headKey is the beginning of a list of fields. Fields that come again are the
// same objects, so comparing addresses is enough.
type headKey [12]*message.Field

type commonHead struct {
	fields []*message.Field
	head   message.Head
}

// common returns the Stable head that all lists of these fields share, or an
// error when they are malformed.
func (p *Pool) common(kind message.Kind, fields []*message.Field) (*message.Head, error) {
	var key headKey
	copy(key[:], fields)
	if e := p.heads[key]; e != nil && e.head.Kind == kind && slices.Equal(e.fields, fields) {
		return &e.head, nil
	}
	e := &commonHead{fields: slices.Clone(fields)}
	e.head.Fields = make([]*message.Field, 0, len(fields))
	if err := fillHead(&e.head, kind, fields); err != nil {
		return nil, err
	}
	e.head.Stable = true
	if p.heads == nil {
		p.heads = map[headKey]*commonHead{}
	}
	if len(p.heads) >= poolHeads {
		clear(p.heads)
	}
	p.heads[key] = e
	return &e.head, nil
}
