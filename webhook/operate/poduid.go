// SPDX-License-Identifier: Apache-2.0

package operate

import (
	"context"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
)

// PodUID returns what finds the uid of a pod by its name. There is none when the
// pod was refused by somebody else, or has gone.
func PodUID(pods func(namespace string) PodLister, log *slog.Logger) func(context.Context, corev1.ObjectReference) types.UID {
	return func(ctx context.Context, pod corev1.ObjectReference) types.UID {
		found, err := pods(pod.Namespace).List(ctx, metav1.ListOptions{
			FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, pod.Name).String(), Limit: 1,
		})
		switch {
		case err != nil:
			log.Warn("read uid of pod for its Event", "err", err, "namespace", pod.Namespace, "pod", pod.Name)
			return ""
		case len(found.Items) == 0:
			return ""
		default:
			return found.Items[0].UID
		}
	}
}
