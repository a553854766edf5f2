// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/shuntmesh/shunt/test/demo/tally"
)

// play runs the whole demo in w and returns what it printed.
func play(t *testing.T, w *world, cleanup bool) (string, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer w.logs.Wait()
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { w.run(ctx) })
	var out bytes.Buffer
	err := run(ctx, Options{
		Kube: w.kube, Image: "demo:1", Callers: 8, Rate: 3000, WindowCalls: 5000, Cleanup: cleanup,
		Out: &out, Started: time.Now(),
	}, w)
	return out.String(), err
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		out, err := play(t, w, false)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, want := range []string{
			"FIGURE demo.before.max_share 1.00 ratio\n",
			"FIGURE demo.after.max_over_fair 1.000 ratio\n",
			"FIGURE demo.failed_calls 0 calls\n",
			"FIGURE demo.exit_at_once.failed_in_flight 3 calls\n",
			"FIGURE demo.exit_at_once.failed_other 0 calls\n",
			"FIGURE demo.proxy_rss_mib 16.0 MiB\n",
			"FIGURE demo.proxy_private_mib 4.0 MiB\n",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("output lacks %q", want)
			}
		}
		if t.Failed() {
			t.Log(out)
		}
		p, err := w.kube.CoreV1().Pods(afterNamespace).Get(t.Context(), "client", metav1.GetOptions{})
		if err != nil || !slices.Contains(p.Spec.Containers[0].Args, "--rate=20") {
			t.Errorf("a quiet client should stay: %v, %v", p, err)
		}
	})
}

func TestRunThatMissesGoals(t *testing.T) {
	tests := []struct {
		name string
		set  func(*world)
		want string
	}{
		{"uneven", func(w *world) {
			w.split = func(n int, ready []string) tally.Counts {
				c := tally.Counts{}
				for i, p := range ready {
					c[p] = n / len(ready)
					if i == 0 {
						c[p] += 30
					}
				}
				return c
			}
		}, "demo.after.max_over_fair is 1."},
		{"a pod starves", func(w *world) {
			w.split = func(n int, ready []string) tally.Counts {
				c := tally.Counts{}
				for _, p := range ready[:min(3, len(ready))] {
					c[p] = n / 3
				}
				return c
			}
		}, "demo.scaleup_seconds is 20.00 s"},
		{"calls fail", func(w *world) { w.failure = true }, "demo.failed_calls is 6 calls"},
		{"no mesh", func(w *world) { w.meshless = true }, "run: shuntctl install"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				tt.set(w)
				out, err := play(t, w, true)
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want one with %q\n%s", err, tt.want, out)
				}
			})
		})
	}
}
