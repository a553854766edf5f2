// SPDX-License-Identifier: Apache-2.0

package operate

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// leaseName is the Lease that the guard holds.
const leaseName = "shunt-webhook-guard"

// releaseTimeout bounds the last call of a replica that stops.
const releaseTimeout = 2 * time.Second

// Leases is what is asked of the API server about Leases of the system
// namespace.
type Leases interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (*coordinationv1.Lease, error)
	Create(ctx context.Context, l *coordinationv1.Lease, o metav1.CreateOptions) (*coordinationv1.Lease, error)
	Update(ctx context.Context, l *coordinationv1.Lease, o metav1.UpdateOptions) (*coordinationv1.Lease, error)
}

// hold takes or renews the lease for life, and returns who has it. It is asked
// for once a round, not kept alive: two replicas that both believe in it for a
// round do the same work twice, and no harm. The Lease's version decides
// between replicas that ask at the same time.
func hold(ctx context.Context, leases Leases, me string, life time.Duration, now time.Time) (holder string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	lease, err := leases.Get(ctx, leaseName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: leaseName}, Spec: claim(me, life, now)}
		_, err = leases.Create(ctx, lease, metav1.CreateOptions{})
	case err != nil:
	case heldByOther(lease.Spec, me, now):
		return *lease.Spec.HolderIdentity, nil
	default:
		lease = lease.DeepCopy()
		lease.Spec = claim(me, life, now)
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return "another replica", nil // it was faster; the next round reads its name
	}
	if err != nil {
		return "", fmt.Errorf("hold Lease %s: %w", leaseName, err)
	}
	return me, nil
}

// release lets another replica hold the lease at once.
func release(ctx context.Context, leases Leases, me string) error {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	lease, err := leases.Get(ctx, leaseName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("release Lease %s: %w", leaseName, err)
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != me {
		return nil
	}
	lease = lease.DeepCopy()
	lease.Spec = coordinationv1.LeaseSpec{}
	if _, err := leases.Update(ctx, lease, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("release Lease %s: %w", leaseName, err)
	}
	return nil
}

func claim(me string, life time.Duration, now time.Time) coordinationv1.LeaseSpec {
	return coordinationv1.LeaseSpec{
		HolderIdentity:       &me,
		LeaseDurationSeconds: new(int32(life / time.Second)),
		RenewTime:            new(metav1.NewMicroTime(now)),
	}
}

func heldByOther(s coordinationv1.LeaseSpec, me string, now time.Time) bool {
	if s.HolderIdentity == nil || *s.HolderIdentity == "" || *s.HolderIdentity == me || s.RenewTime == nil || s.LeaseDurationSeconds == nil {
		return false
	}
	return now.Before(s.RenewTime.Add(time.Duration(*s.LeaseDurationSeconds) * time.Second))
}
