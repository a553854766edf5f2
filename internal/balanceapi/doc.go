// SPDX-License-Identifier: Apache-2.0

// Package balanceapi holds the resource that tells nodes of a Service's port
// whose connections are balanced at connect. The messages are generated from
// balance.proto; nothing here performs I/O.
package balanceapi

//go:generate go run -C ../workloadapi/gen . ../../.. internal/balanceapi/balance.proto
