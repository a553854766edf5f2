// SPDX-License-Identifier: Apache-2.0

// Package route holds immutable route tables and matches requests against
// them. A table belongs to one service; the service was decided by the
// original destination before, never by the authority. It performs no I/O.
package route

// Request is what a table can match on.
type Request struct {
	Authority string // :authority or Host, as sent
	Path      string // :path with its query
	Method    string
}

// Route is the outcome of a match.
type Route struct {
	Name string
	// Cluster names the set of endpoints, as in xDS: "outbound|80||host".
	Cluster string
}
