// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
)

// The lists of containers, by their names in a pod's spec.
const (
	listInit       = "initContainers"
	listContainers = "containers"
)

// containerList is one of them.
type containerList struct {
	name       string
	containers []corev1.Container
}

func listsOf(pod *corev1.Pod) []containerList {
	return []containerList{{listInit, pod.Spec.InitContainers}, {listContainers, pod.Spec.Containers}}
}

// containerSteps puts our containers at their places.
//
// With native sidecars both stand in front of all init containers, which then
// have a network that is captured and works. Without, an init container that
// captures comes last, so that the others have the network that they would have
// had, and the proxy is an ordinary container: the first one, when the
// application is to wait for it, since the kubelet starts containers in order,
// each when the postStart hook of the one before has returned. Where the node
// captures, the container that waits for it always comes first.
func containerSteps(pod *corev1.Pod, f form, s *Status) ([]Operation, error) {
	inits := list{listInit, len(pod.Spec.InitContainers)}
	containers := list{listContainers, len(pod.Spec.Containers)}
	own, shift := s.Own, 0
	var steps []Operation
	if f.redirects() {
		first, at := initContainer(pod, f), 0
		s.Interception = contract.InterceptionInit
		switch {
		case f.byNode():
			first = validateContainer(pod, f)
			s.Interception, s.Redirect = contract.InterceptionCNI, captureFlags(f.Capture)
		case !f.native:
			at = inits.length
		}
		if own != nil && own.List == listInit {
			shift = 1
		}
		s.Containers = append(s.Containers, first.Name)
		steps = append(steps, inits.insert(at, first))
	}
	s.Containers = append(s.Containers, contract.ProxyContainer)
	to, at := proxyPlace(f, inits, containers)
	if own == nil {
		return append(steps, to.insert(at, proxyContainer(pod, f))), nil
	}
	merged, err := mergeSteps(own, own.Index+shift, to, at, proxyContainer(pod, f))
	return append(steps, merged...), err
}

// proxyPlace is where the proxy goes; -1 is at the end.
func proxyPlace(f form, inits, containers list) (to list, at int) {
	switch {
	case f.native && f.redirects():
		return inits, 1
	case f.native, f.Hold:
		at = 0
	default:
		at = atEnd
	}
	if f.native {
		return inits, at
	}
	return containers, at
}

// mergeSteps move the user's own container from where it stands now to the
// proxy's place, and complete it there. Where the place is only the end, it
// stays where its author put it.
func mergeSteps(own *Own, now int, to list, at int, proxy corev1.Container) ([]Operation, error) {
	from := list{own.List, 0}.path(now)
	if at == atEnd {
		at = now
	}
	var steps []Operation
	if own.List != to.name && to.length == 0 {
		steps = append(steps, add("/spec/"+to.name, []any{}))
	}
	path := to.path(at)
	if path != from {
		steps = append(steps, Operation{Op: "move", From: from, Path: path})
	}
	filled, err := own.fill(path, proxy)
	return append(steps, filled...), err
}

// atEnd is the place behind all others.
const atEnd = -1

// list is a list of containers of a pod while steps are added.
type list struct {
	name   string
	length int
}

func (l list) path(at int) string { return "/spec/" + l.name + "/" + strconv.Itoa(at) }

// insert puts v at a place; "add" needs a list that is there.
func (l *list) insert(at int, v any) Operation {
	l.length++
	switch {
	case l.length == 1:
		return add("/spec/"+l.name, []any{v})
	case at == atEnd:
		return add("/spec/"+l.name+"/-", v)
	default:
		return add(l.path(at), v)
	}
}
