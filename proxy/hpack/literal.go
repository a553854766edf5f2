// SPDX-License-Identifier: Apache-2.0

package hpack

import "github.com/shuntmesh/shunt/proxy/message"

// literal is a field that came as such (section 6.2), not decoded yet.
type literal struct {
	named *message.Field // whose name it has, or nil
	name  text           // if not
	value text
	never bool // to be indexed
}

// check tells whether both strings can be decoded.
func (l *literal) check() error {
	if err := l.name.check(); err != nil {
		return err
	}
	return l.value.check()
}

// maxKey is how long the key of an interned field may be, in bytes.
const maxKey = 1 << 10

// What the keys in an interner begin with. It is shared with HTTP/1, no line of
// which begins with such an octet.
const (
	keyName  = 0xf0 // a name as it came: only the name of the field is of use
	keyPlain = 0xf1 // a name, and a value as it came
	keyField = 0xf2 // both as they came
)

// resolve returns the field that l stands for: an interned one, if l is of the
// kind and has come before, or one of the slab, if it may never come again. key is
// scratch space, empty, of maxKey bytes.
func (d *Decoder) resolve(l *literal, key []byte) (*message.Field, error) {
	keyed := l.keyed()
	if keyed {
		key = l.key(key)
		if f := d.known(l, key); f != nil {
			return f, nil
		}
	}
	name, err := d.name(l, key[len(key):])
	if err != nil {
		return nil, err
	}
	n := natureOf(name, l.value.empty())
	came := keyed && n == volatile && d.interner.Came(key)
	if n == volatile && !came && !l.never && l.value.short() {
		value, err := l.value.decodeInto(&d.slab)
		if err != nil {
			return nil, err
		}
		return d.slab.Field(name, value), nil
	}
	value, err := l.value.decode()
	if err != nil {
		return nil, err
	}
	f := &message.Field{Name: name, Value: value, Sensitive: l.never || n == sensitive}
	switch {
	case !keyed:
	case n == ordinary:
		d.interner.Add(key, f)
	case n == volatile:
		d.interner.AddRecent(key, f)
	}
	return f, nil
}

// known asks the interner for l. The name that l comes with tells in which part
// of it to look.
func (d *Decoder) known(l *literal, key []byte) *message.Field {
	named := l.named != nil
	if named && natureOf(l.named.Name, l.value.empty()) == volatile {
		return d.interner.FindRecent(key)
	}
	if f := d.interner.Find(key); f != nil || named {
		return f
	}
	return d.interner.FindRecent(key)
}

// keyed tells whether it is worth asking an interner for l.
func (l *literal) keyed() bool {
	switch {
	case l.never:
		return false
	case l.named == nil:
		return 1+len(l.name.wire)+len(l.value.wire) <= maxKey
	}
	return 3+len(l.named.Name)+len(l.value.wire) <= maxKey && natureOf(l.named.Name, l.value.empty()) != sensitive
}

// key appends what an interner knows the field by. Every string has its length
// in front of it, so two keys are equal only when all their strings are.
func (l *literal) key(dst []byte) []byte {
	if l.named == nil {
		dst = append(append(dst, keyField), l.name.wire...)
	} else {
		n := len(l.named.Name)
		dst = append(append(dst, keyPlain, byte(n>>8), byte(n)), l.named.Name...)
	}
	return append(dst, l.value.wire...)
}

// name returns the name of l. Names are interned even where fields are not.
func (d *Decoder) name(l *literal, key []byte) (string, error) {
	if l.named != nil {
		return l.named.Name, nil
	}
	interned := 1+len(l.name.wire) <= maxKey
	if interned {
		key = append(append(key, keyName), l.name.wire...)
		if f := d.interner.Find(key); f != nil {
			return f.Name, nil
		}
	}
	name, err := l.name.decode()
	if err == nil && interned {
		d.interner.Add(key, &message.Field{Name: name})
	}
	return name, err
}
