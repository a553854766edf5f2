// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package footprint

// DropInit is for Linux.
func DropInit() error { return nil }
