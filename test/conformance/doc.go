// SPDX-License-Identifier: Apache-2.0

// Package conformance holds the proxy to the RFCs with suites that others wrote,
// over real sockets. It is tests alone, in a module of its own, so that what
// they need does not reach the product.
package conformance
