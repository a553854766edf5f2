// SPDX-License-Identifier: Apache-2.0

//go:build race

package h2

// poolDrops is how many allocations a call may cost because sync.Pool drops some of
// what it gets, on purpose: x/net has its buffers for Huffman codes from one.
const poolDrops = 2
