// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// nowhere is a pod that no node takes: it is admitted, and costs nobody more.
var nowhere = map[string]any{
	"apiVersion": "v1", "kind": "Pod",
	"metadata": map[string]any{"generateName": "rollout-", "labels": map[string]string{"app": "rollout"}},
	"spec": map[string]any{
		"nodeSelector": map[string]string{"e2e.test/nowhere": "true"},
		"containers":   []any{map[string]any{"name": "app", "image": "none"}},
	},
}

const rolloutPods = "/api/v1/namespaces/" + mesh + "/pods"

// creations makes 20 pods a second until stop is called, which returns how many
// were created and the errors of the others.
func creations(api *apiServer) (stop func() (created int, failed []error)) {
	var (
		mu      sync.Mutex
		created int
		failed  []error
		end     = make(chan struct{})
		calls   sync.WaitGroup
	)
	create := func() {
		_, err := api.do(http.MethodPost, rolloutPods, nowhere)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed = append(failed, err)
			return
		}
		created++
	}
	var loop sync.WaitGroup
	loop.Go(func() {
		tick := time.NewTicker(time.Second / 20)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				calls.Go(create)
			}
		}
	})
	return func() (int, []error) {
		close(end)
		loop.Wait()
		calls.Wait()
		return created, failed
	}
}

// testRolloutOfTheWebhook holds that not one of 20 creations a second is
// refused, and that none comes without its proxy, while both replicas of the
// webhook are replaced. Afterwards the guard of one of the new ones finds a pod
// that is older than its namespace's label.
func testRolloutOfTheWebhook(t *testing.T) {
	api := connect(t)
	defer func() {
		if _, err := api.do(http.MethodDelete, rolloutPods+"?labelSelector=app%3Drollout&gracePeriodSeconds=0", nil); err != nil {
			t.Error(err)
		}
	}()
	older(t)
	stop := creations(api)
	kubectl(t, "-n", "shunt-system", "rollout", "restart", "deployment", "shunt-webhook")
	kubectl(t, "-n", "shunt-system", "rollout", "status", "deployment", "shunt-webhook", "--timeout=120s")
	time.Sleep(8 * time.Second) // the last of the old ones lingers
	created, failed := stop()
	figure("webhook.failed_admissions", len(failed), "pods")
	figure("webhook.rollout_admissions", created, "pods")
	for i, err := range failed {
		t.Error(err)
		if i == 4 {
			break
		}
	}
	injected := len(lines(kubectl(t, "-n", mesh, "get", "pods", "-l", "app=rollout", "-o",
		`jsonpath={range .items[*]}{.spec.initContainers[?(@.name=="shunt-proxy")].name}{"\n"}{end}`)))
	if created < 100 || injected != created {
		t.Errorf("%d of %d pods have a proxy", injected, created)
	}
	guarded(t)
}

const late = "e2e-late"

// older makes a pod in a namespace that is labelled only afterwards.
func older(t *testing.T) {
	t.Helper()
	kubectl(t, "create", "namespace", late)
	t.Cleanup(func() { kubectl(t, "delete", "namespace", late, "--wait=false") })
	apply(t, barePod("older", late, "{}"))
	kubectl(t, "label", "namespace", late, "shunt.dev/inject=enabled")
}

// guarded waits until a replica's guard has told of the older pod. Who guards after
// it tells again, in an Event of its own: two replicas go and two come.
func guarded(t *testing.T) {
	t.Helper()
	complaint := within(time.Minute, func() string {
		told := strings.Fields(kubectl(t, "-n", late, "get", "events", "--field-selector=reason=ProxyMissing", "-o", "jsonpath={.items[*].involvedObject.name}"))
		const replicas = 4
		if len(told) > replicas || !slices.Equal(slices.Compact(slices.Clone(told)), []string{"older"}) {
			return fmt.Sprintf("the guards told of %q within a minute, want the pod older, once each of %d at most", told, replicas)
		}
		return ""
	})
	if complaint != "" {
		t.Fatalf("%s:\n%s", complaint, kubectl(t, "-n", "shunt-system", "get", "lease", "shunt-webhook-guard", "-o", "yaml"))
	}
}
