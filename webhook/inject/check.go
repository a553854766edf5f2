// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
)

func refuse(why Reason, format string, args ...any) error {
	return &Refusal{why, fmt.Errorf(format, args...)}
}

// check refuses what must not be in an injected pod, whoever put it there.
func check(pod *corev1.Pod, f form) error {
	if err := checkPorts(pod); err != nil {
		return err
	}
	if !f.redirects() {
		return nil
	}
	return checkUsers(pod)
}

// containersOf calls visit for every container but the proxy.
func containersOf(pod *corev1.Pod, visit func(list string, c corev1.Container) error) error {
	for _, l := range listsOf(pod) {
		for _, c := range l.containers {
			if c.Name == contract.ProxyContainer {
				continue // ours on a second pass, merged on the first
			}
			if err := visit(l.name, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkPorts refuses ports of the proxy: all containers share one network, so
// the application or the proxy could not listen.
func checkPorts(pod *corev1.Pod) error {
	return containersOf(pod, func(list string, c corev1.Container) error {
		for _, p := range c.Ports {
			tcp := p.Protocol == "" || p.Protocol == corev1.ProtocolTCP
			if tcp && slices.Contains(contract.ProxyPorts(), p.ContainerPort) {
				return refuse(ProxyPort, "check ports: container %q listens on %d (spec.%s[%s].ports), which is the proxy's (allowed: ports other than %v)",
					c.Name, p.ContainerPort, list, c.Name, contract.ProxyPorts())
			}
		}
		return nil
	})
}

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
	return containersOf(pod, func(list string, c corev1.Container) error {
		if c.SecurityContext == nil {
			return nil
		}
		where := fmt.Sprintf("spec.%s[%s].securityContext", list, c.Name)
		return checkIDs(fmt.Sprintf("container %q", c.Name), where, c.SecurityContext.RunAsUser, c.SecurityContext.RunAsGroup)
	})
}

func checkIDs(who, where string, uid, gid *int64) error {
	const hint = "which is the proxy's: its traffic would go past the mesh unseen (allowed: other numbers)"
	if uid != nil && *uid == contract.ProxyUID {
		return refuse(ProxyUser, "check users: %s runs as uid %d (%s.runAsUser), %s", who, *uid, where, hint)
	}
	if gid != nil && *gid == contract.ProxyUID {
		return refuse(ProxyUser, "check users: %s runs as gid %d (%s.runAsGroup), %s", who, *gid, where, hint)
	}
	return nil
}

// checkNames refuses pods that use a name of ours for something of theirs. A
// container with the proxy's name is merged with the proxy.
func checkNames(pod *corev1.Pod) error {
	const hint = "(rename it, or set the label " + contract.LabelInject + ": " + contract.InjectDisabled + ")"
	err := containersOf(pod, func(_ string, c corev1.Container) error {
		if c.Name != contract.InitContainer && c.Name != contract.ValidateContainer {
			return nil
		}
		return refuse(TakenName, "add containers: the pod has a container named %q, which is a name of the mesh %s", c.Name, hint)
	})
	if err != nil {
		return err
	}
	for _, v := range pod.Spec.Volumes {
		if slices.Contains([]string{contract.ProxyVolume, contract.TokenVolume, contract.NoTokenVolume}, v.Name) {
			return refuse(TakenName, "add volumes: the pod has a volume named %q, which is a name of the mesh %s", v.Name, hint)
		}
	}
	return nil
}
