// SPDX-License-Identifier: Apache-2.0

// Package conformance holds the proxy to the RFCs with the suites, clients and
// servers that others wrote, over real sockets and through two sidecars. It is
// tests alone, with the build tag conformance, in a module of its own, so that
// what they need does not reach the product. `make conformance` runs them.
package conformance
