// SPDX-License-Identifier: Apache-2.0

package repair

import (
	"fmt"
	"time"

	"github.com/shuntmesh/shunt/cni/agent/kube"
	"github.com/shuntmesh/shunt/cni/agent/podns"
	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/redirect"
	"github.com/shuntmesh/shunt/redirect/flags"
)

const (
	// youth is how long a namespace counts as young. Its pod may not have begun to
	// work yet, so a mistake is repaired before it costs anything.
	youth = time.Minute

	// youngPeriod and oldPeriod are how often rules are read back that were right
	// the last time. Nobody but who may administrate the pod's network takes them
	// away; a new namespace is checked at once in any case.
	youngPeriod = 5 * time.Second
	oldPeriod   = 5 * time.Minute

	// lostPeriod is how often all processes are read for a pod that has had no
	// namespace for as long as youth: its sandbox can't be made, and 1,000
	// processes take 15 ms.
	lostPeriod = time.Second

	minRetry = time.Second // after the first failure in a row
	maxRetry = 30 * time.Second
)

// record is what is known of a pod that the node has to capture.
type record struct {
	pod      kube.Pod
	process  podns.Process // that holds its namespace; zero while there is none
	seen     time.Time     // when the pod was first heard of, or lost its namespace
	found    time.Time     // when process was found
	checked  time.Time     // when the rules in its namespace were found right, or made so; zero before
	failed   int           // how often in a row they could not be
	retry    time.Time     // not before, after a failure
	busy     bool          // somebody is at it
	hopeless error         // why what the pod says can't be read
}

// action is what to do about a pod.
type action uint8

const (
	leave  action = iota // nothing for now
	search               // find its namespace
	check                // read its rules back, and repair them
)

// decide says what to do about a pod now. holds says whether the process of the
// record is still there, in the same namespace.
func decide(r record, holds bool, now time.Time) action {
	switch {
	case r.busy, r.hopeless != nil:
		return leave
	case r.process == podns.Process{}, !holds:
		return search
	case r.failed > 0:
		return checkFrom(r.retry, now)
	case r.checked.IsZero():
		return check
	case now.Sub(r.found) < youth:
		return checkFrom(r.checked.Add(youngPeriod), now)
	default:
		return checkFrom(r.checked.Add(oldPeriod), now)
	}
}

func checkFrom(due, now time.Time) action {
	if now.Before(due) {
		return leave
	}
	return check
}

// pause returns how long to wait after so many failures in a row.
func pause(failed int) time.Duration {
	return min(minRetry<<min(failed-1, 10), maxRetry)
}

// searchDue says whether to read all processes now for the sake of a pod that
// has no namespace, which was last done at that time.
func searchDue(r record, last, now time.Time) bool {
	return now.Sub(r.seen) < youth || now.Sub(last) >= lostPeriod
}

// order sorts what is due: first those that nobody has looked at yet, the
// youngest before the others, since old ones have been running all along.
func order(a, b *record) int {
	if a.checked.IsZero() != b.checked.IsZero() {
		if a.checked.IsZero() {
			return -1
		}
		return 1
	}
	return b.pod.Created.Compare(a.pod.Created)
}

// mine says whether the node has to capture the pod. An annotation that can't
// be read is an error, and the pod is nobody else's then.
func mine(p kube.Pod) (bool, error) {
	capture, err := contract.ParseCapture(p.Status)
	if err != nil {
		return true, err
	}
	return capture.Interception == contract.InterceptionCNI, nil
}

// wish is what a pod asks for.
type wish struct {
	plan    redirect.Plan
	backend string // by name; "" for the node's
}

// read makes a wish of a pod's status. It takes some 50 us, and the plan some 10
// KiB, so it is made when it is needed.
func read(p kube.Pod) (wish, error) {
	capture, err := contract.ParseCapture(p.Status)
	if err != nil {
		return wish{}, err
	}
	parsed, err := flags.Parse(capture.Redirect)
	if err != nil {
		return wish{}, fmt.Errorf("read annotation %s: redirect: %w", contract.AnnotationStatus, err)
	}
	plan, err := redirect.NewPlan(parsed.Config)
	if err != nil {
		return wish{}, fmt.Errorf("read annotation %s: redirect: %w", contract.AnnotationStatus, err)
	}
	return wish{plan: plan, backend: parsed.Backend}, nil
}
