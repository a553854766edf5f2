// SPDX-License-Identifier: Apache-2.0

package conflist

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/containernetworking/cni/libcni"

	"github.com/shuntmesh/shunt/internal/contract"
)

// errOnlyOurs is a list that would have no plugin left, or none to follow.
var errOnlyOurs = errors.New("list has no plugin but " + contract.PluginBinary + " (remove the file)")

// span is a stretch of a text.
type span struct{ start, end int }

// list is the text of a .conflist, and where its plugins stand in it.
type list struct {
	text    []byte
	open    int // just behind the "[" of plugins
	plugins []span
	ours    []bool // by plugin
	name    string
}

// parse reads a list as libcni reads it for the runtimes, so that they and we
// agree on what is valid.
func parse(text []byte) (list, error) {
	conf, err := libcni.NetworkConfFromBytes(text)
	if err != nil {
		return list{}, fmt.Errorf("read as a CNI list: %w", err)
	}
	if conf.Name == "" {
		return list{}, errors.New("read as a CNI list: its name is empty")
	}
	if len(conf.Plugins) == 0 {
		return list{}, errors.New("read as a CNI list: it has no plugins (those of a folder beside the list aren't enough)")
	}
	l := list{text: text, name: conf.Name}
	array, err := lastValue(text, "plugins")
	if err != nil {
		return list{}, fmt.Errorf("find the plugins: %w", err)
	}
	l.open = array.start + 1
	if l.plugins, err = elements(text, array); err != nil {
		return list{}, fmt.Errorf("find the plugins: %w", err)
	}
	for _, p := range conf.Plugins {
		l.ours = append(l.ours, p.Network.Type == contract.PluginBinary)
	}
	if len(l.ours) != len(l.plugins) {
		return list{}, fmt.Errorf("find the plugins: %d in the text, %d in the list", len(l.plugins), len(l.ours))
	}
	return l, nil
}

// lastValue finds the value of a key of the object. Of a key that is there more
// than once the last counts, as for encoding/json and so for libcni.
func lastValue(text []byte, key string) (found span, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil {
		return span{}, err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return span{}, err
		}
		value, err := next(dec)
		if err != nil {
			return span{}, err
		}
		if name == key {
			found = value
		}
	}
	if found.end == 0 {
		return span{}, fmt.Errorf("%q is missing", key)
	}
	return found, nil
}

// elements finds the values of an array.
func elements(text []byte, array span) ([]span, error) {
	dec := json.NewDecoder(bytes.NewReader(text[array.start:array.end]))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	var found []span
	for dec.More() {
		e, err := next(dec)
		if err != nil {
			return nil, err
		}
		found = append(found, span{array.start + e.start, array.start + e.end})
	}
	return found, nil
}

// next reads one value and says where it stands.
func next(dec *json.Decoder) (span, error) {
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return span{}, err
	}
	end := int(dec.InputOffset())
	return span{end - len(raw), end}, nil
}

// mentions reports whether our plugin is in the list.
func (l list) mentions() bool {
	for _, ours := range l.ours {
		if ours {
			return true
		}
	}
	return false
}

// has reports whether the entry is in the list once, as it should be, behind a
// plugin that makes the network. It needn't be the last: another meshes' or
// installer's plugin behind it is no reason to write.
func (l list) has(entry []byte) bool {
	at := -1
	for i, ours := range l.ours {
		if !ours {
			continue
		}
		if at >= 0 {
			return false
		}
		at = i
	}
	return at > 0 && same(l.text[l.plugins[at].start:l.plugins[at].end], entry)
}

// chain returns the list's text with the entry in it, once. A list that has it
// already comes back as it is.
func (l list) chain(entry []byte) ([]byte, error) {
	if l.has(entry) {
		return l.text, nil
	}
	text, err := l.unchain()
	if err != nil {
		return nil, err
	}
	if l, err = parse(text); err != nil {
		return nil, err
	}
	last := len(l.plugins) - 1
	// What separates the new element is what separates the last one.
	separator := append([]byte(","), l.text[l.open:l.plugins[0].start]...)
	if last > 0 {
		separator = l.text[l.plugins[last-1].end:l.plugins[last].start]
	}
	out := bytes.Clone(l.text[:l.plugins[last].end])
	out = append(out, separator...)
	if out, err = appendIndented(out, separator, entry); err != nil {
		return nil, err
	}
	return append(out, l.text[l.plugins[last].end:]...), nil
}

// appendIndented adds the entry as its neighbours are written: on lines of its
// own where they begin on one, behind a comma where the comma begins the line.
func appendIndented(out, separator, entry []byte) ([]byte, error) {
	var b bytes.Buffer
	newline := bytes.LastIndexByte(separator, '\n')
	if newline < 0 {
		if err := json.Compact(&b, entry); err != nil {
			return nil, fmt.Errorf("write the entry: %w", err)
		}
		return append(out, b.Bytes()...), nil
	}
	indent := strings.ReplaceAll(string(separator[newline+1:]), ",", " ")
	if err := json.Indent(&b, entry, indent, "  "); err != nil {
		return nil, fmt.Errorf("write the entry: %w", err)
	}
	return append(out, b.Bytes()...), nil
}

// unchain returns the list's text without our plugin. A list without it comes
// back as it is.
func (l list) unchain() ([]byte, error) {
	if !l.mentions() {
		return l.text, nil
	}
	out := bytes.Clone(l.text[:l.plugins[0].start])
	kept := 0
	for i, p := range l.plugins {
		if l.ours[i] {
			continue
		}
		if kept > 0 {
			out = append(out, l.text[l.plugins[i-1].end:p.start]...)
		}
		out = append(out, l.text[p.start:p.end]...)
		kept++
	}
	if kept == 0 {
		return nil, errOnlyOurs
	}
	return append(out, l.text[l.plugins[len(l.plugins)-1].end:]...), nil
}

// same reports whether two texts are the same JSON value. Numbers are compared as
// they are written.
func same(a, b []byte) bool {
	x, errX := decode(a)
	y, errY := decode(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

func decode(text []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}
