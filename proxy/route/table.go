// SPDX-License-Identifier: Apache-2.0

package route

// Table is the immutable, ordered list of one service's routes.
type Table struct{}
