// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package loop

import "errors"

// readiness is what the driver Goroutines keeps of a connection.
type readiness struct{}

func newDriver(*Worker, Driver) (driver, error) {
	return nil, errors.New("no driver for this system (Unix only)")
}

func isAgain(error) bool { return false }
