// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shuntmesh/shunt/test/e2e/testimony"
)

// atOnce is how long a refused connection may take, with the start of the program
// that makes it: whoever waits for an answer waits for seconds.
const atOnce = 2 * time.Second

// testProxyDead holds that nobody waits for a proxy that is dead: what goes out of
// its pod and what comes in is refused at once.
func testProxyDead(t *testing.T, c *court) {
	w := c.start(t, "dead", "n1", 1, 0)[0]
	defer c.end(t, "dead")
	c.ready(t, "dead", afterwards)
	ip := podIP(t, witnessed, w.name)
	// What ends for the first time the kubelet starts again at once; the second
	// time it waits for 10 s.
	first := awaitProxy(t, w, nil)
	signal(t, syscall.SIGKILL, w.uid, "proxy", "run")
	awaitProxy(t, w, first)
	signal(t, syscall.SIGKILL, w.uid, "proxy", "run")

	out := []string{"-n", witnessed, "exec", w.name, "-c", "app", "--", "app", "tcp", fmt.Sprintf("%s:%d", outsideIP, testimony.PortJudge)}
	refused(t, exec.Command("kubectl", out...))
	refused(t, exec.Command("nsenter", "--net=/run/netns/"+outsideNamespace, "../../bin/e2e/app", "tcp", fmt.Sprintf("%s:%d", ip, testimony.PortWitness)))
	if alive := processes(t, w.uid, "proxy", "run"); len(alive) > 0 {
		t.Errorf("the proxy was back too soon: the refusals show nothing")
	}
}

// awaitProxy waits until a pod has a proxy other than those processes.
func awaitProxy(t *testing.T, w *witness, other []int) (found []int) {
	t.Helper()
	eventually(t, 20*time.Second, func() string {
		if found = processes(t, w.uid, "proxy", "run"); len(found) == 0 || slices.Equal(found, other) {
			return w.name + " has no other proxy yet"
		}
		return ""
	})
	return found
}

// refused runs a client, which has to be refused, and at once.
func refused(t *testing.T, client *exec.Cmd) {
	t.Helper()
	began := time.Now()
	said, err := client.CombinedOutput()
	if took := time.Since(began); err == nil || !strings.Contains(string(said), "connection refused") || took > atOnce {
		t.Errorf("%v: %v after %v: %s; want it refused at once", client.Args, err, took, said)
	}
}
