// SPDX-License-Identifier: Apache-2.0

package repair

import (
	"context"
	"errors"
	"fmt"

	"github.com/shuntmesh/shunt/cni/agent/kube"
	"github.com/shuntmesh/shunt/cni/agent/podns"
)

// Remove takes the rules from all pods that the node captures, after Run has
// returned, and says from how many. Those that run on speak past their proxies
// then. A pod that ends meanwhile is no error; not to know of all pods is.
func (r *Repairer) Remove(ctx context.Context) (removed int, err error) {
	if err := r.options.Pods.Ready(); err != nil {
		return 0, fmt.Errorf("remove the rules of pods: %w", err)
	}
	pods := map[string]kube.Pod{}
	r.options.Pods.Each(func(p kube.Pod) {
		if ours, err := mine(p); ours && err == nil {
			pods[p.UID] = p
		}
	})
	found, err := r.options.Namespaces.Find(func(uid string) bool { _, is := pods[uid]; return is })
	errs := []error{err}
	for uid, process := range found {
		err := r.remove(ctx, uid, process)
		switch {
		case err == nil:
			removed++
		case !errors.Is(err, podns.ErrGone):
			errs = append(errs, fmt.Errorf("remove the rules of pod %s/%s: %w", pods[uid].Namespace, pods[uid].Name, err))
		}
	}
	return removed, errors.Join(errs...)
}

func (r *Repairer) remove(ctx context.Context, uid string, process podns.Process) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ns, err := r.options.Namespaces.Open(uid, process)
	if err != nil {
		return err
	}
	defer ns.Close()
	return strip(ctx, ns, r.options.Backends)
}
