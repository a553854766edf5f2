// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/shuntmesh/shunt/test/bench/raw"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// GRPC calls with grpc-go. Each call has a deadline of its own, so that the
// header is another each time, as it is in the field.
func GRPC(ctx context.Context, aim Aim, l scenario.Load) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conns := make([]*grpc.ClientConn, l.Connections)
	for i := range conns {
		c, err := dial(aim)
		if err != nil {
			return Outcome{}, err
		}
		defer func() { _ = c.Close() }()
		conns[i] = c
	}
	workers := l.Connections * l.Streams
	latencies, errs := make([][]time.Duration, workers), make([]error, workers)
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range workers {
		calls := l.Requests / workers
		if i < l.Requests%workers {
			calls++
		}
		wg.Go(func() { latencies[i], errs[i] = callMany(ctx, conns[i%len(conns)], calls, l.Payload) })
	}
	wg.Wait()
	o := Outcome{Elapsed: time.Since(begin)}
	var all []time.Duration
	for i := range workers {
		if errs[i] != nil {
			return Outcome{}, errs[i]
		}
		all = append(all, latencies[i]...)
	}
	o.Requests, o.Bytes = len(all), int64(len(all)*l.Payload)
	o.setLatency(all)
	return o, nil
}

func dial(aim Aim) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+aim.Address.String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority(Authority),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw.Codec{})),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig())
}

func callMany(ctx context.Context, c *grpc.ClientConn, calls, payload int) ([]time.Duration, error) {
	message := Message(payload)[5:]
	var out []time.Duration
	for i := range calls {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second+time.Duration(i)*time.Microsecond)
		var answer []byte
		begin := time.Now()
		err := c.Invoke(ctx, Path, &message, &answer)
		cancel()
		if err != nil {
			return nil, fmt.Errorf("call %d: %w", i+1, err)
		}
		if !bytes.Equal(message, answer) {
			return nil, fmt.Errorf("call %d: the echo has %d bytes and differs, %d were sent", i+1, len(answer), len(message))
		}
		out = append(out, time.Since(begin))
	}
	return out, nil
}
