// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/shuntmesh/shunt/internal/contract"
)

// nodes are one Node of an API server that may be away.
type nodes struct {
	mu       sync.Mutex
	away     bool
	runtime  string
	patches  []string
	attempts int
}

func (n *nodes) call() error {
	n.attempts++
	if n.away {
		return errors.New("connection refused")
	}
	return nil
}

func (n *nodes) Get(context.Context, string, metav1.GetOptions) (*corev1.Node, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return &corev1.Node{Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{ContainerRuntimeVersion: n.runtime}}}, n.call()
}

func (n *nodes) Patch(_ context.Context, _ string, _ types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string) (*corev1.Node, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.call(); err != nil {
		return nil, err
	}
	n.patches = append(n.patches, string(data))
	return nil, nil
}

func (n *nodes) set(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

func (n *nodes) last() (count int, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.patches) == 0 {
		return 0, ""
	}
	return len(n.patches), n.patches[len(n.patches)-1]
}

func TestReporter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &nodes{away: true, runtime: "containerd://1.4.1"}
		s := newState()
		r := &reporter{nodes: api, node: "here", state: s, log: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.run(ctx) }()

		s.setChoice(choice{backend: "nftables", reason: "the first that works here"})
		time.Sleep(10 * time.Minute)
		if count, _ := api.last(); count != 0 || api.attempts > 45 || api.attempts < 10 {
			t.Errorf("%d reports, %d attempts while the API server is away", count, api.attempts)
		}
		api.set(func() { api.away = false })
		time.Sleep(maxReportPause * 3 / 2)
		synctest.Wait()
		if count, text := api.last(); count != 1 || !strings.Contains(text, "nftables") || !strings.Contains(text, "1.4.1") {
			t.Errorf("%d reports, %s", count, text)
		}
		for range 100 { // two installers fight
			s.setPlugin(errors.New("somebody has taken it away"))
			s.setPlugin(nil)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(reportGap)
		synctest.Wait()
		if count, text := api.last(); count > 7 || !strings.Contains(text, contract.NodeInstalled) {
			t.Errorf("%d reports of a fight of 10 s, the last one %s", count, text)
		}
		before, _ := api.last()
		api.set(func() { api.runtime = "containerd://2.2.0" })
		time.Sleep(2 * reportPeriod)
		synctest.Wait()
		if count, text := api.last(); count <= before || !strings.Contains(text, contract.NodeHandedOver) {
			t.Errorf("%d more reports after an hour, the last one %s", count-before, text)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
