// SPDX-License-Identifier: Apache-2.0

package detect_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shuntmesh/shunt/proxy/balance"
	"github.com/shuntmesh/shunt/proxy/detect"
	"github.com/shuntmesh/shunt/proxy/reason"
	"github.com/shuntmesh/shunt/proxy/sniff"
	"github.com/shuntmesh/shunt/proxy/sockettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestHTTPWaitsForNoEndpoint: one that is picked while the client is silent may
// never answer; the client's requests go to others.
func TestHTTPWaitsForNoEndpoint(t *testing.T) {
	client, near := sockettest.Pair(t)
	never := func(ctx context.Context, _ []*balance.Endpoint) (*balance.Endpoint, *net.TCPConn, reason.Reason) {
		if _, err := io.WriteString(client, "GET / HTTP/1.1\r\n"); err != nil {
			t.Error(err)
		}
		<-ctx.Done()
		return nil, nil, reason.ConnectTimeout
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	found, err := detect.Run(ctx, near, never, detect.Options{Partial: time.Minute, Silent: time.Minute, TimedOut: func() {}})
	if err != nil || found.Protocol != sniff.HTTP1 || found.Upstream != nil || ctx.Err() != nil {
		t.Errorf("%+v, %v; %v", found, err, ctx.Err())
	}
}
