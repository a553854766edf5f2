// SPDX-License-Identifier: Apache-2.0

package operate_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/shuntmesh/shunt/webhook/operate"
)

// podsByName has uids of pods; a pod that is not in it is not there.
type podsByName struct {
	uids  map[string]types.UID
	asked *atomic.Int64
	err   error
}

func (p podsByName) List(_ context.Context, o metav1.ListOptions) (*corev1.PodList, error) {
	p.asked.Add(1)
	name, found := strings.CutPrefix(o.FieldSelector, "metadata.name=")
	if p.err != nil || !found || o.Limit != 1 {
		return nil, errors.Join(p.err, errors.New("list pods by "+o.FieldSelector))
	}
	list := &corev1.PodList{}
	if uid, there := p.uids[name]; there {
		list.Items = []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: name, UID: uid}}}
	}
	return list, nil
}

// A pod of nobody's has no uid when it is reviewed. Its Event waits until it has
// one, and is written without when it has none, or nobody can say.
func TestEventOfAPodWithoutAnOwner(t *testing.T) {
	for name, tt := range map[string]struct {
		pods podsByName
		want types.UID
	}{
		"born":      {podsByName{uids: map[string]types.UID{"web": "7"}}, "7"},
		"not there": {podsByName{}, ""},
		"denied":    {podsByName{err: errors.New("forbidden")}, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			tt.pods.asked = new(atomic.Int64)
			e := &events{pods: tt.pods}
			r, stop := startRecorder(t, e)
			for range 3 {
				r.Record(operate.Happening{Object: corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: "shop", Name: "web"}, Reason: "Injected"})
			}
			pass(time.Second)
			if n := e.called(); n != 0 {
				t.Errorf("%s: %d calls before the pod can be there", name, n)
			}
			pass(time.Minute)
			if got := e.only(t); got.InvolvedObject.UID != tt.want || got.InvolvedObject.Name != "web" || got.Count != 3 {
				t.Errorf("%s: Event of uid %q, %d times; want %q", name, got.InvolvedObject.UID, got.Count, tt.want)
			}
			if n := tt.pods.asked.Load(); n != 1 {
				t.Errorf("%s: asked %d times", name, n)
			}
			stop()
		})
	}
}
