// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const meshJob = `
apiVersion: batch/v1
kind: Job
metadata: {name: NAME, namespace: e2e-mesh}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: app, image: APP, command: [app, http, "http://echo.e2e-plain/"]}
---
`

// maxCompletion is how long a Job may take to be complete after its app's exit.
// Without a proxy it takes 3.3 s here: the kubelet looks once a second, and the
// Job controller waits for a second too. The proxy's own end comes between.
const maxCompletion = 5 * time.Second

// TestJobsComplete holds that the proxy does not keep a Job from ending, and
// that the app of it had a network at once. The times are in whole seconds, so
// the median of three counts.
func TestJobsComplete(t *testing.T) {
	jobs := []string{"once-a", "once-b", "once-c"}
	var manifest strings.Builder
	for _, job := range jobs {
		manifest.WriteString(strings.ReplaceAll(meshJob, "NAME", job))
	}
	apply(t, manifest.String())
	var took []time.Duration
	for _, job := range jobs {
		defer kubectl(t, "-n", mesh, "delete", "job", job, "--wait=false")
		kubectl(t, "-n", mesh, "wait", "job", job, "--for=condition=Complete", "--timeout=60s")
		took = append(took, completion(t, job))
	}
	slices.Sort(took)
	figure("webhook.job_completion_s", took[1].Seconds(), "s")
	if took[1] > maxCompletion {
		t.Errorf("Jobs were complete %v after their app's exit, want %v at most", took, maxCompletion)
	}
}

// testCronJobsComplete is the same for the Job of a CronJob, of which one is
// enough: it has fired while other tests ran.
func testCronJobsComplete(t *testing.T) {
	job := ""
	complaint := within(90*time.Second, func() string {
		jobs := strings.Fields(kubectl(t, "-n", mesh, "get", "jobs", "-o",
			`jsonpath={.items[?(@.metadata.ownerReferences[0].name=="tick")].metadata.name}`))
		if len(jobs) == 0 || kubectl(t, "-n", mesh, "get", "job", jobs[0], "-o", "jsonpath={.status.completionTime}") == "" {
			return "no run has ended"
		}
		job = jobs[0]
		return ""
	})
	if complaint != "" {
		t.Fatalf("%s:\n%s", complaint, kubectl(t, "-n", mesh, "get", "jobs,pods", "-o", "wide"))
	}
	figure("webhook.cronjob_completion_s", completion(t, job).Seconds(), "s")
}

// completion is the time from the last exit of an app to the Job's end, in
// whole seconds: Kubernetes writes no finer ones.
func completion(t *testing.T, job string) time.Duration {
	t.Helper()
	pods := decode[struct {
		Items []struct {
			Spec struct {
				InitContainers []struct{ Name string }
			}
			Status struct {
				ContainerStatuses, InitContainerStatuses []containerStatus
			}
		}
	}](t, kubectl(t, "-n", mesh, "get", "pods", "-l", "job-name="+job, "-o", "json"))
	var exit, sidecar time.Time
	for _, pod := range pods.Items {
		if !strings.Contains(fmt.Sprint(pod.Spec.InitContainers), "shunt-proxy") {
			t.Errorf("a pod of %s has no proxy: %v", job, pod.Spec.InitContainers)
		}
		exit = latest(exit, "app", pod.Status.ContainerStatuses)
		sidecar = latest(sidecar, "shunt-proxy", pod.Status.InitContainerStatuses)
	}
	if exit.IsZero() {
		t.Fatalf("no app of %s has ended", job)
	}
	ended, err := time.Parse(time.RFC3339, kubectl(t, "-n", mesh, "get", "job", job, "-o", "jsonpath={.status.completionTime}"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: its app has ended at %s, its proxy %v later, itself %v later", job, exit.Format(time.TimeOnly), sidecar.Sub(exit), ended.Sub(exit))
	return ended.Sub(exit)
}

type containerStatus struct {
	Name  string
	State struct {
		Terminated struct{ FinishedAt time.Time }
	}
}

// latest is the last exit of the named container, at or after exit.
func latest(exit time.Time, name string, list []containerStatus) time.Time {
	for _, c := range list {
		if at := c.State.Terminated.FinishedAt; c.Name == name && at.After(exit) {
			exit = at
		}
	}
	return exit
}
