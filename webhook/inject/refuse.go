// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
)

// checkUsers refuses pods whose containers run as the proxy's uid or gid: the
// redirection lets that user's traffic pass. The pod's own setting is refused
// even where each container overrides it, since containers that are added
// later (debug containers, other webhooks') inherit it. A USER in an image
// can't be seen from here.
func checkUsers(pod *corev1.Pod) error {
	if sc := pod.Spec.SecurityContext; sc != nil {
		if err := checkIDs("the pod", "spec.securityContext", sc.RunAsUser, sc.RunAsGroup); err != nil {
			return err
		}
	}
	for _, c := range pod.Spec.InitContainers {
		if c.Name == contract.ProxyContainer {
			continue // ours on a second pass, a taken name on the first
		}
		if err := checkContainerIDs("initContainers", c); err != nil {
			return err
		}
	}
	for _, c := range pod.Spec.Containers {
		if err := checkContainerIDs("containers", c); err != nil {
			return err
		}
	}
	return nil
}

func checkContainerIDs(list string, c corev1.Container) error {
	if c.SecurityContext == nil {
		return nil
	}
	where := fmt.Sprintf("spec.%s[%s].securityContext", list, c.Name)
	return checkIDs(fmt.Sprintf("container %q", c.Name), where, c.SecurityContext.RunAsUser, c.SecurityContext.RunAsGroup)
}

func checkIDs(who, where string, uid, gid *int64) error {
	const hint = "which is the proxy's: its traffic would go past the mesh unseen (choose another number)"
	if uid != nil && *uid == contract.ProxyUID {
		return fmt.Errorf("check users: %s runs as uid %d (%s.runAsUser), %s", who, *uid, where, hint)
	}
	if gid != nil && *gid == contract.ProxyUID {
		return fmt.Errorf("check users: %s runs as gid %d (%s.runAsGroup), %s", who, *gid, where, hint)
	}
	return nil
}

// checkNames refuses pods that use a name of ours for something of theirs.
func checkNames(pod *corev1.Pod) error {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, c := range list {
			if c.Name == contract.ProxyContainer || c.Name == contract.InitContainer {
				return fmt.Errorf("add containers: the pod has a container named %q, which is a name of the mesh (rename it, or set the label %s: %s)",
					c.Name, contract.LabelInject, contract.InjectDisabled)
			}
		}
	}
	for _, v := range pod.Spec.Volumes {
		if v.Name == contract.ProxyVolume || v.Name == contract.TokenVolume {
			return fmt.Errorf("add volumes: the pod has a volume named %q, which is a name of the mesh (rename it, or set the label %s: %s)",
				v.Name, contract.LabelInject, contract.InjectDisabled)
		}
	}
	return nil
}
