// SPDX-License-Identifier: Apache-2.0

package message

// generation bounds each of the two halves of an Interner: fields, and bytes of
// their keys, names, values and lines.
const (
	generationFields = 2048
	generationBytes  = 256 << 10
)

// Interner keeps the fields that come again and again under the bytes that they
// came as, so that those need not be decoded or allocated twice. What has not
// been found for a while is forgotten: of two generations the older one goes
// when the younger is full, and what is found in the older moves up.
type Interner struct {
	young, old map[string]*Field
	bytes      int
}

// Find returns the field that was added under key, or nil.
func (in *Interner) Find(key []byte) *Field {
	if f := in.young[string(key)]; f != nil {
		f.Again = true
		return f
	}
	f := in.old[string(key)]
	if f != nil {
		f.Again = true
		in.Add(key, f)
	}
	return f
}

// Add keeps f under key.
func (in *Interner) Add(key []byte, f *Field) {
	if len(in.young) >= generationFields || in.bytes >= generationBytes {
		in.old, in.young, in.bytes = in.young, nil, 0
	}
	if in.young == nil {
		in.young = map[string]*Field{}
	}
	in.young[string(key)] = f
	in.bytes += len(key) + len(f.Name) + len(f.Value) + len(f.Line)
}
