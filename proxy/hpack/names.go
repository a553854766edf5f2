// SPDX-License-Identifier: Apache-2.0

package hpack

import "github.com/shuntmesh/shunt/proxy/message"

// nature is how fields of a name are to be treated.
type nature uint8

const (
	// ordinary fields are worth remembering once they came twice.
	ordinary nature = iota
	// volatile fields are in neither an interner nor our dynamic table.
	volatile
	// sensitive fields are never put into a table, neither ours nor that of
	// anybody further down. An interner would tell by its timing.
	sensitive
)

// natureOf tells what a field is like, by its name and whether its value is
// empty: that is no value to change, and gRPC servers end each call with an
// empty grpc-message.
func natureOf(name string, empty bool) nature {
	switch {
	case message.Sensitive(name):
		return sensitive
	case !empty && message.Volatile(name):
		return volatile
	}
	return ordinary
}
