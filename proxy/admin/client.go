// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// Do sends a request to the unix socket of a running proxy and copies the
// answer to out. An error has the answer of a request that was refused.
func Do(ctx context.Context, socket, method, path string, out io.Writer) error {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, "http://proxy"+path, nil)
	if err != nil {
		return fmt.Errorf("make request for %s: %w", path, err)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ask the proxy at %s (is `proxy run` running in this container?): %w", socket, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1024))
		return fmt.Errorf("ask the proxy for %s: %s: %s", path, res.Status, strings.TrimSpace(string(text)))
	}
	if _, err := io.Copy(out, res.Body); err != nil {
		return fmt.Errorf("read answer to %s: %w", path, err)
	}
	return nil
}
