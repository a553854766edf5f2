// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
	"github.com/shuntmesh/shunt/webhook/inject/annotation"
)

// form is the shape that one pod gets: what its annotations say, and the
// options where they are silent.
type form struct {
	annotation.Settings
	Options
	native bool // the proxy is an init container that stays
	merge  merge
}

func formOf(s annotation.Settings, o Options) form {
	f := form{Settings: s, Options: o, native: !o.ClassicSidecars}
	if s.Native != nil {
		f.native = *s.Native
	}
	if s.Image != "" {
		f.Options.Image = s.Image
	}
	if s.PullPolicy != "" {
		f.Options.PullPolicy = s.PullPolicy
	}
	return f
}

// redirects reports whether the pod's traffic is steered, by whomever.
func (f form) redirects() bool { return f.Capture.Mode == annotation.ModeRedirect }

// byNode reports whether the node steers the pod's traffic, before any of its
// containers starts.
func (f form) byNode() bool { return f.redirects() && f.Interception == contract.InterceptionCNI }

// warnings are about what of the pod will not work as its author may think.
func (f form) warnings(pod *corev1.Pod) []string {
	return append(f.graceWarnings(pod), f.orderWarnings(pod)...)
}

// orderWarnings tell of init containers that have a captured network and no
// proxy yet: the node captures before they start.
func (f form) orderWarnings(pod *corev1.Pod) []string {
	if f.native || !f.byNode() {
		return nil
	}
	var names []string
	for _, c := range pod.Spec.InitContainers {
		if c.Name != contract.ValidateContainer {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("init containers %s can't reach the network: the node captures it before they start, and without native sidecars the proxy starts after them (allow native sidecars, see %s, or exclude what they call, see %s)",
		strings.Join(names, ", "), contract.AnnotationNativeSidecar, contract.AnnotationExcludeOutboundPorts)}
}

func (f form) graceWarnings(pod *corev1.Pod) []string {
	grace := pod.Spec.TerminationGracePeriodSeconds
	if grace == nil || f.DrainTimeout == 0 {
		return nil
	}
	needs := f.DrainTimeout
	if !f.native {
		needs += f.TerminationDelay
	}
	if needs <= time.Duration(*grace)*time.Second {
		return nil
	}
	return []string{fmt.Sprintf("annotation %s lets the proxy take %v to end, but the kubelet kills it after %d s (terminationGracePeriodSeconds)",
		contract.AnnotationDrainTimeout, needs, *grace)}
}
