// SPDX-License-Identifier: Apache-2.0

//go:build unix && !linux

package loop

import "errors"

func newDriver(w *Worker, d Driver) (driver, error) {
	switch d {
	case Auto, Goroutines:
		return newGoroutines(w), nil
	case Epoll:
		return nil, errors.New("driver epoll is for Linux")
	}
	return nil, errUnknownDriver
}
