// SPDX-License-Identifier: Apache-2.0

//go:build netns

package ebpf

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/internal/testnet"
)

// applyEnv makes the test binary a process that applies once, as a CNI plugin
// does, with the programs below the named bpffs.
const applyEnv = "SHUNT_EBPF_APPLY"

func applyMain(bpffs string) int {
	p, err := redirect.NewPlan(captureAll())
	if err == nil {
		_, err = Backend{bpffs}.Apply(context.Background(), p)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

const appliers = 200

// BenchmarkApply measures the first apply of a pod, the start of its process
// included.
func BenchmarkApply(b *testing.B) {
	n := loaded(b)
	var took []time.Duration
	for range appliers {
		_, pod := testnet.Pair(b)
		pod.Do(b, func() error {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), applyEnv+"="+n.BPFFS)
			cmd.Stderr = os.Stderr
			begin := time.Now()
			err := cmd.Run()
			took = append(took, time.Since(begin))
			return err
		})
	}
	slices.Sort(took)
	ms := func(at int) float64 { return float64(took[at].Microseconds()) / 1000 }
	b.ReportMetric(ms(appliers/2), "ms-p50")
	b.ReportMetric(ms(appliers*99/100), "ms-p99")
	b.ReportMetric(0, "ns/op")
}
