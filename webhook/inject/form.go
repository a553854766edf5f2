// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"fmt"
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

// redirects reports whether an init container steers the pod's traffic.
func (f form) redirects() bool { return f.Capture.Mode == annotation.ModeRedirect }

// warnings are about what of the pod will not work as its author may think.
func (f form) warnings(pod *corev1.Pod) []string {
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
