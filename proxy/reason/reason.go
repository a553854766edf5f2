// SPDX-License-Identifier: Apache-2.0

// Package reason lists why the proxy answers in place of an application. The
// words are a contract: they are sent in the shunt-error header and are label
// values of metrics. It performs no I/O.
package reason

// Reason is one word of the list below; None means that nothing is wrong.
type Reason string

// The reasons. "Safe" means that the request provably never reached an
// application, so that whoever sees it may send it to another endpoint.
const (
	None             Reason = ""
	NoRoute          Reason = "no-route"          // no route of the service matches
	NoEndpoints      Reason = "no-endpoints"      // the service has no endpoint that may be used
	ConnectRefused   Reason = "connect-refused"   // safe: the endpoint refused or reset the connection attempt
	ConnectTimeout   Reason = "connect-timeout"   // safe: the connection attempt had no answer in time
	SourceMissing    Reason = "source-missing"    // safe: the pod lacks the address that inbound dials from (127.0.0.6, ::6)
	NoDescriptors    Reason = "no-descriptors"    // safe: the proxy is out of file descriptors
	RefusedStream    Reason = "refused-stream"    // safe: REFUSED_STREAM, or GOAWAY below the stream
	UpstreamReset    Reason = "upstream-reset"    // the connection or stream died with the request in flight
	UpstreamInvalid  Reason = "upstream-invalid"  // the answer was no valid HTTP
	HeaderTooLarge   Reason = "header-too-large"  // the request's header is over --max-header-bytes, or over what the endpoint has said it takes
	NoConnect        Reason = "no-connect"        // the endpoint does not take extended CONNECT (RFC 8441)
	TLSFailed        Reason = "tls-failed"        // safe: no handshake with the endpoint, or with the client
	PlaintextRefused Reason = "plaintext-refused" // inbound serves TLS alone
	OwnPort          Reason = "own-port"          // the destination is a port of this proxy
	NotRedirected    Reason = "not-redirected"    // the connection was made to the proxy itself
	NotOurAddress    Reason = "not-our-address"   // inbound for an address that is not the pod's
	DetectTimeout    Reason = "detect-timeout"    // no upstream, and the client said nothing
	DrainTimeout     Reason = "drain-timeout"     // cut by the end of --drain-timeout
	InvalidRequest   Reason = "invalid-request"   // what is no valid HTTP
	DeadlineExceeded Reason = "deadline-exceeded" // the call's grpc-timeout is over
	// Unresolved is never seen outside: discovery is asked first.
	Unresolved Reason = "unresolved"
)

// Header carries the reason, as a header or in trailers-only gRPC answers.
const Header = "Shunt-Error"

// HeaderAt names the address that the answering inbound proxy was dialled for.
// A peer believes a Header only with its own endpoint in HeaderAt: an
// application without a sidecar that relays its upstream's answer, Header and
// all, has seen the request itself.
const HeaderAt = "Shunt-Error-At"

// Safe tells whether a request that met r may be sent again.
func (r Reason) Safe() bool {
	switch r {
	case ConnectRefused, ConnectTimeout, SourceMissing, NoDescriptors, RefusedStream, TLSFailed:
		return true
	default:
		return false
	}
}
