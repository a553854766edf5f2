// SPDX-License-Identifier: Apache-2.0

// Package workloadapi holds the resource that says what an IP address is: a
// service's virtual IP or a pod. The messages are generated from
// workload.proto; nothing here performs I/O.
package workloadapi

//go:generate go run -C gen . ../../.. internal/workloadapi/workload.proto
