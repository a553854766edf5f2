// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package upstream

import "syscall"

func setOptions(_, _ string, _ syscall.RawConn) error { return nil }
