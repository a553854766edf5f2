// SPDX-License-Identifier: Apache-2.0

package h1

import "strings"

// The methods that framing depends on. Those of net/http would bring a network
// into this package.
const (
	methodConnect = "CONNECT"
	methodHead    = "HEAD"
	methodOptions = "OPTIONS"
	methodPatch   = "PATCH"
	methodPost    = "POST"
	methodPut     = "PUT"
)

// authorityOf returns the authority in a request target of one of the four
// forms (RFC 9112, 3.2), "" where the form has none.
func authorityOf(method, target string) (string, error) {
	switch {
	case method == methodConnect:
		return target, checkHostPort(target)
	case target[0] == '/', target == "*" && method == methodOptions:
		return "", nil
	}
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || !isFold(scheme, "http") && !isFold(scheme, "https") {
		return "", errTarget
	}
	if end := strings.IndexAny(rest, "/?"); end >= 0 {
		rest = rest[:end]
	}
	// User information is an error here (RFC 9110, 4.2.4), and no host has an "@".
	if rest == "" || rest[0] == ':' || !isHost(rest) {
		return "", errTarget
	}
	return rest, nil
}

// checkHostPort is for the authority-form (RFC 9112, 3.2.3): the port is no option.
func checkHostPort(target string) error {
	colon := strings.LastIndexByte(target, ':')
	if colon <= 0 || colon == len(target)-1 || !isHost(target) {
		return errTarget
	}
	for _, c := range []byte(target[colon+1:]) {
		if c < '0' || c > '9' {
			return errTarget
		}
	}
	return nil
}

// knownMethod returns the method without allocating it, for those that are used.
func knownMethod(b []byte) string {
	for _, m := range [...]string{"GET", methodPost, methodPut, "DELETE", methodHead, methodOptions, methodPatch, methodConnect} {
		if string(b) == m {
			return m
		}
	}
	return string(b)
}
