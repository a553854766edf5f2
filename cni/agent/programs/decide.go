// SPDX-License-Identifier: Apache-2.0

package programs

import (
	"maps"
	"reflect"
	"time"

	"github.com/shuntmesh/shunt/internal/contract"
)

const (
	// period is the time between two looks at the programs.
	period = time.Minute

	// maxFailed is after how many failed self-tests in a row new pods go by another
	// backend, and minPassed after how many passed ones by eBPF again. A busy node
	// may fail one.
	maxFailed = 3
	minPassed = 5

	// countPeriod is how often numbers alone are told: each is a write to the API
	// server, from every node.
	countPeriod = 10 * time.Minute
)

// Mode is what the programs are to their node.
type Mode uint8

// The modes.
const (
	Unwanted Mode = iota // pods from before may be captured by them, and no new ones are
	Standby              // as Unwanted; new pods would be, if they worked
	Used                 // new pods are captured by them
)

// step is what to do after a look.
type step uint8

const (
	stay     step = iota
	repair        // load them again, which attaches what was detached, and test again
	change        // the node has to choose its backend anew
	takeAway      // nobody needs them
)

// tests count self-tests in a row that ended alike; one of the two is 0.
type tests struct{ passed, failed int }

func (t tests) after(passed bool) tests {
	if passed {
		return tests{passed: t.passed + 1}
	}
	return tests{failed: t.failed + 1}
}

// decide says what to do about programs that capture so many pods.
func decide(m Mode, t tests, pods int) step {
	switch {
	case m == Unwanted && pods == 0:
		return takeAway
	case m == Used && t.failed >= maxFailed, m == Standby && t.passed >= minPassed:
		return change
	case t.failed == 1:
		return repair
	default:
		return stay
	}
}

// worthTelling compares what was told that long ago with what there is.
func worthTelling(told, now *contract.NodePrograms, age time.Duration) bool {
	if told == nil || now == nil {
		return told != now
	}
	a, b := *told, *now
	counted := a.Pods != b.Pods || a.Services != b.Services || !maps.Equal(a.Counters, b.Counters)
	a.Pods, a.Services, a.Counters = b.Pods, b.Services, b.Counters
	return !reflect.DeepEqual(a, b) || counted && age >= countPeriod
}
