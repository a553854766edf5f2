// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/shuntmesh/shunt/cni/agent/kube"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/internal/task"
)

const (
	// reportPeriod is how often the Node is read again and written again, in case
	// somebody has changed it; a kubelet with a new runtime says so there.
	reportPeriod = 30 * time.Minute
	// reportGap is the least time between two reports: another installer that
	// fights over the conflist must not become load on the API server.
	reportGap = 2 * time.Second

	minReportPause = time.Second
	maxReportPause = 30 * time.Second
)

// reporter writes the state into the Node.
type reporter struct {
	nodes kube.Nodes
	node  string
	state *state
	log   *slog.Logger
}

// run reports each change until ctx ends. Errors are logged and tried again.
func (r *reporter) run(ctx context.Context) error {
	var written contract.Node
	var due time.Time // when all is read and written again
	retry := task.Backoff{Min: minReportPause, Max: maxReportPause}
	for ctx.Err() == nil {
		full := !time.Now().Before(due)
		if err := r.report(ctx, &written, full); err != nil {
			pause := retry.Next()
			if ctx.Err() == nil {
				r.log.Warn("report", "err", err, "pause", pause.String())
			}
			task.Sleep(ctx, pause)
			continue
		}
		retry.Reset()
		if full {
			due = time.Now().Add(reportPeriod/2 + rand.N(reportPeriod))
		}
		if !task.Sleep(ctx, reportGap) {
			return nil
		}
		timer := time.NewTimer(time.Until(due))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-r.state.changed:
		}
		timer.Stop()
	}
	return nil
}

// report writes what is not written yet, or with full whatever it is.
func (r *reporter) report(ctx context.Context, written *contract.Node, full bool) error {
	if full {
		runtime, err := kube.RuntimeVersion(ctx, r.nodes, r.node)
		if err != nil {
			return err
		}
		r.state.setRuntime(runtime)
	}
	now := r.state.get()
	if reflect.DeepEqual(now, *written) && !full {
		return nil
	}
	if err := kube.Report(ctx, r.nodes, r.node, now); err != nil {
		return err
	}
	*written = now
	return nil
}
