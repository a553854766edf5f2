// SPDX-License-Identifier: Apache-2.0

package events_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/shuntmesh/shunt/internal/events"
)

// The Event of a pod that has no uid yet waits until it has one, and is written
// without when it has none then.
func TestEventOfAnUnbornPod(t *testing.T) {
	for _, uid := range []types.UID{"7", ""} {
		synctest.Test(t, func(t *testing.T) {
			var asked atomic.Int64
			e := &api{uid: func(_ context.Context, pod corev1.ObjectReference) types.UID {
				if asked.Add(1); pod.Namespace != "shop" || pod.Name != "web" {
					t.Errorf("asked for the uid of %v", pod)
				}
				return uid
			}}
			r, stop := startRecorder(t, e)
			for range 3 {
				r.Record(events.Happening{Object: corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: "shop", Name: "web"}, Reason: "Injected"})
			}
			pass(time.Second)
			if n := e.called(); n != 0 {
				t.Errorf("%d calls before the pod can be there", n)
			}
			pass(time.Minute)
			if got := e.only(t); got.InvolvedObject.UID != uid || got.InvolvedObject.Name != "web" || got.Count != 3 {
				t.Errorf("Event of uid %q, %d times; want %q", got.InvolvedObject.UID, got.Count, uid)
			}
			if n := asked.Load(); n != 1 {
				t.Errorf("asked %d times", n)
			}
			stop()
		})
	}
}
