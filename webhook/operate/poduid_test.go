// SPDX-License-Identifier: Apache-2.0

package operate_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/shuntmesh/shunt/webhook/operate"
)

// podsByName has uids of pods; a pod that is not in it is not there.
type podsByName struct {
	uids map[string]types.UID
	err  error
}

func (p podsByName) List(_ context.Context, o metav1.ListOptions) (*corev1.PodList, error) {
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

func TestPodUID(t *testing.T) {
	for name, tt := range map[string]struct {
		pods podsByName
		want types.UID
	}{
		"born":      {podsByName{uids: map[string]types.UID{"web": "7"}}, "7"},
		"not there": {podsByName{}, ""},
		"denied":    {podsByName{err: errors.New("forbidden")}, ""},
	} {
		uid := operate.PodUID(func(namespace string) operate.PodLister {
			if namespace != "shop" {
				t.Errorf("%s: namespace %q", name, namespace)
			}
			return tt.pods
		}, slog.New(slog.DiscardHandler))
		if got := uid(t.Context(), corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: "web"}); got != tt.want {
			t.Errorf("%s: uid %q, want %q", name, got, tt.want)
		}
	}
}
