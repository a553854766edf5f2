// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"time"
)

// last waits for SIGTERM, and then calls a URL for some time more, as
// applications do that flush what they hold. The first call that fails ends it
// with an error.
func last(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("last", flag.ContinueOnError)
	length := flags.Duration("for", 2*time.Second, "how long")
	if err := flags.Parse(args); err != nil {
		return err
	}
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2**length)
	defer cancel()
	// Each call is by a connection of its own: the proxy has to take new ones.
	client := &http.Client{Timeout: *length, Transport: &http.Transport{DisableKeepAlives: true}}
	for end := time.Now().Add(*length); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, flags.Arg(0), nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %s", resp.Status)
		}
	}
	return nil
}
