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
	recent     *[recentFields]recent
}

// recentFields is how many fields of passing interest are kept.
const recentFields = 64

// recent is a key that came lately, and is short enough, with its field if that
// was added.
type recent struct {
	key   [39]byte
	size  uint8
	field *Field
}

// Came tells whether key came lately: then its field is worth AddRecent. If it
// did not, it has now. So values that never come again cost no memory.
func (in *Interner) Came(key []byte) bool {
	if in.recent == nil {
		in.recent = new([recentFields]recent)
	}
	r := &in.recent[slot(key)]
	if len(key) > len(r.key) {
		return false
	}
	if string(r.key[:r.size]) == string(key) {
		return true
	}
	r.field, r.size = nil, uint8(copy(r.key[:], key))
	return false
}

// FindRecent returns the field that was added under key with AddRecent, and was
// not overwritten since.
func (in *Interner) FindRecent(key []byte) *Field {
	if in.recent == nil || len(key) > len(in.recent[0].key) {
		return nil
	}
	r := &in.recent[slot(key)]
	if r.field == nil || string(r.key[:r.size]) != string(key) {
		return nil
	}
	r.field.Again = true
	return r.field
}

// AddRecent keeps f for a while. It is for fields whose values change, such as
// content-length or grpc-timeout: some clients send few different ones, and
// those of others would only push better fields out of the Interner.
func (in *Interner) AddRecent(key []byte, f *Field) {
	if in.recent == nil {
		in.recent = new([recentFields]recent)
	}
	r := &in.recent[slot(key)]
	if len(key) > len(r.key) {
		return
	}
	r.field, r.size = f, uint8(copy(r.key[:], key))
}

// slot is FNV-1a.
func slot(key []byte) uint32 {
	hash := uint32(2166136261)
	for _, b := range key {
		hash = (hash ^ uint32(b)) * 16777619
	}
	return (hash ^ hash>>16) % recentFields
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
