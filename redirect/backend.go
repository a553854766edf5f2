// SPDX-License-Identifier: Apache-2.0

package redirect

import "context"

// Backend makes one network namespace, that of the calling thread, do what a
// Plan says. Its own objects are told from all others by name; those of others
// are never touched.
type Backend interface {
	// Apply makes the namespace match the plan and reports whether that took a
	// change. It replaces whatever an earlier Apply left, of any version; open
	// connections keep their way. Each family changes in one atomic step, so
	// that an Apply that is killed leaves its old rules or its new ones. A plan
	// that can't be met in full is an error and changes nothing; one that wraps
	// errors.ErrUnsupported says that this kernel, or this image, lacks
	// something that another backend may do without.
	Apply(ctx context.Context, p Plan) (changed bool, err error)
	// Check returns nil where the namespace matches the plan, a *Difference
	// for the first thing that doesn't, and another error where it can't tell.
	Check(ctx context.Context, p Plan) error
	// Remove takes away all that Apply made, in any version. Finding nothing is
	// no error.
	Remove(ctx context.Context) error
	// Holds reports whether Remove may find something. It is cheap, and true
	// where telling would not be.
	Holds(ctx context.Context) (bool, error)
}

// Difference says where a namespace doesn't match its Plan.
type Difference struct {
	Where string `json:"where"` // such as "ipv4 outbound rule 3"
	Want  string `json:"want"`
	Got   string `json:"got"`
}

// Error returns "<where>: want <want>, found <got>".
func (d *Difference) Error() string {
	return d.Where + ": want " + d.Want + ", found " + d.Got
}
