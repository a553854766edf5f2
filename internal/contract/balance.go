// SPDX-License-Identifier: Apache-2.0

package contract

import "fmt"

// AnnotationBalance on a Service says who chooses the endpoint of a connection
// to it: the values are those of Balance.
const AnnotationBalance = "shunt.dev/balance"

// Balance is who chooses the endpoint of a connection to a Service.
type Balance string

// Who chooses.
const (
	// BalanceProxy is the default: the proxy, for each request where it speaks
	// the protocol.
	BalanceProxy Balance = "proxy"
	// BalanceConnect is the kernel in connect(2), on nodes that capture with eBPF:
	// no proxy stands in the connection.
	BalanceConnect Balance = "connect"
)

// ParseBalance reads the annotation's value. No annotation ("") is BalanceProxy.
func ParseBalance(value string) (Balance, error) {
	switch b := Balance(value); b {
	case "":
		return BalanceProxy, nil
	case BalanceProxy, BalanceConnect:
		return b, nil
	default:
		return "", fmt.Errorf("read annotation %s: %q is unknown (allowed: %s, %s)", AnnotationBalance, value, BalanceConnect, BalanceProxy)
	}
}
