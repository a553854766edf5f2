// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package detect

// receive leaves everything to the reads that follow.
func receive(uintptr, []byte) (int, error) { return 0, nil }
