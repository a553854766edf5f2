// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/shuntmesh/shunt/test/bench/process"
	"github.com/shuntmesh/shunt/test/bench/scenario"
)

// IPerf3 sends one TCP stream from the client to the server.
func IPerf3(ctx context.Context, tool Tool, aim Aim, l scenario.Load) (Outcome, error) {
	out, err := process.Output(ctx, limit, process.Spec{Name: "iperf3", Path: tool.Path, Env: tool.Env, Args: []string{
		"-c", aim.Address.Addr().String(), "-p", strconv.Itoa(int(aim.Address.Port())),
		"-t", strconv.Itoa(int(l.Duration.Seconds())), "-J",
	}})
	if err != nil {
		return Outcome{}, err
	}
	return ParseIPerf3(out)
}

// ParseIPerf3 reads the JSON of iperf3 3.12: what the server received.
func ParseIPerf3(text string) (Outcome, error) {
	var report struct {
		Error string `json:"error"`
		End   struct {
			Received struct {
				Seconds float64 `json:"seconds"`
				Bytes   int64   `json:"bytes"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		return Outcome{}, fmt.Errorf("parse output of iperf3: %w", err)
	}
	if report.Error != "" {
		return Outcome{}, errors.New("iperf3: " + report.Error)
	}
	r := report.End.Received
	if r.Seconds <= 0 || r.Bytes <= 0 {
		return Outcome{}, errors.New("parse output of iperf3: it received nothing")
	}
	return Outcome{Requests: 1, Bytes: r.Bytes, Elapsed: time.Duration(r.Seconds * float64(time.Second))}, nil
}
