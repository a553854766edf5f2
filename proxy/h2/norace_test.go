// SPDX-License-Identifier: Apache-2.0

//go:build !race

package h2

// poolDrops is 0 without the race detector.
const poolDrops = 0
