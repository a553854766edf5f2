// SPDX-License-Identifier: Apache-2.0

package appmetrics

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/version"
)

// Result is what came of asking the application, as the label "result" has it.
type Result string

// The results.
const (
	OK          Result = "ok"
	Unreachable Result = "unreachable" // no connection, or a broken one
	Timeout     Result = "timeout"
	Status      Result = "status"   // not 200
	Format      Result = "format"   // a content type or encoding that nobody asked for
	TooLarge    Result = "size"     // more bytes than the limit
	Invalid     Result = "text"     // a line that no scraper reads
	OwnName     Result = "own-name" // a metric of the proxy's name
)

// failure is an error with the result that it is counted as.
type failure struct {
	result Result
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(r Result, format string, args ...any) error {
	return &failure{r, fmt.Errorf(format, args...)}
}

// resultOf classifies an error of fetch.
func resultOf(err error) Result {
	var known *failure
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil:
		return OK
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return Timeout
	case errors.As(err, &known):
		return known.result
	case errors.Is(err, errOwnName):
		return OwnName
	case errors.As(err, new(broken)):
		return Unreachable
	default:
		return Invalid
	}
}

// fetcher asks the application over loopback. It keeps no connection: between two
// scrapes are seconds, and an idle connection costs both sides memory.
type fetcher struct {
	target    contract.Scrape
	maxBytes  int
	transport *http.Transport
}

func newFetcher(target contract.Scrape, maxBytes int) *fetcher {
	return &fetcher{target, maxBytes, &http.Transport{
		DialContext:            dialLoopback,
		DisableKeepAlives:      true,
		DisableCompression:     true, // it would cost the application CPU to spare bytes on loopback
		MaxResponseHeaderBytes: 16 << 10,
	}}
}

// dialLoopback connects to the application by whichever family it listens on.
func dialLoopback(ctx context.Context, _, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	dialer.SetMultipathTCP(false)
	conn, first := dialer.DialContext(ctx, "tcp4", net.JoinHostPort("127.0.0.1", port))
	if first == nil {
		return conn, nil
	}
	if conn, err = dialer.DialContext(ctx, "tcp6", net.JoinHostPort("::1", port)); err != nil {
		return nil, first
	}
	return conn, nil
}

// fetch returns the application's lines and their format. An error is of a kind
// that resultOf knows.
func (f *fetcher) fetch(ctx context.Context, open bool) ([]byte, format, error) {
	request, err := f.request(ctx, open)
	if err != nil {
		return nil, plain, err
	}
	response, err := f.transport.RoundTrip(request)
	if err != nil {
		return nil, plain, fail(Unreachable, "ask the application: %w (does it listen on loopback, or on all addresses?)", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, plain, fail(Status, "the application answers %s", response.Status)
	}
	how, err := formatOf(response.Header.Get("Content-Type"), open)
	if err != nil {
		return nil, plain, fail(Format, "read the application's answer: %w", err)
	}
	body, err := decoded(response)
	if err != nil {
		return nil, plain, err
	}
	content, err := check(&bounded{body, f.maxBytes}, how)
	if err != nil {
		return nil, plain, fmt.Errorf("read the application's metrics: %w", err)
	}
	return content, how, nil
}

func (f *fetcher) request(ctx context.Context, open bool) (*http.Request, error) {
	url := "http://localhost:" + strconv.Itoa(int(f.target.Port)) + f.target.Path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("ask the application: %w", err)
	}
	request.Header.Set("Accept", accept(open))
	request.Header.Set("Accept-Encoding", "identity")
	request.Header.Set("User-Agent", "shunt-proxy/"+version.Version)
	return request, nil
}

// decoded is the body without its content coding. Some applications compress
// whatever they are asked.
func decoded(response *http.Response) (io.Reader, error) {
	switch coding := response.Header.Get("Content-Encoding"); coding {
	case "", "identity":
		return response.Body, nil
	case "gzip":
		body, err := gzip.NewReader(response.Body)
		if err != nil {
			return nil, fail(Format, "decompress the application's answer: %w", err)
		}
		return body, nil
	default:
		return nil, fail(Format, "the application answers in the coding %q (allowed: none, gzip)", coding)
	}
}

// bounded reads at most left bytes, and fails when there are more.
type bounded struct {
	from io.Reader
	left int
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.from.Read(p[:min(len(p), b.left+1)]) // one more, to see whether there are more
	if n > b.left {
		return 0, fail(TooLarge, "there are more bytes than the limit")
	}
	b.left -= n
	return n, err
}
