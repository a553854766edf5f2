// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"encoding/json"
	"fmt"
	"strings"
)

// How a pod's traffic is captured, in a Capture.
const (
	InterceptionInit = "init" // an init container redirects it
	InterceptionCNI  = "cni"  // the node does: its CNI plugin, before any container starts
	InterceptionNone = "none" // it is not
)

// Capture is the part of the annotation shunt.dev/status that the node reads:
// whether it has to redirect the pod's traffic, and how. The webhook writes it.
type Capture struct {
	Interception string `json:"interception"`
	// Redirect are the flags of "redirect apply", where the node does it.
	Redirect []string `json:"redirect,omitempty"`
}

// ParseCapture reads the annotation's value. No annotation ("") is a pod that is
// not injected: the zero Capture. A value that can't be read, or that names an
// interception of a newer version, is an error, since passing the pod on could
// mean a pod that is captured by nobody.
func ParseCapture(status string) (Capture, error) {
	if strings.TrimSpace(status) == "" {
		return Capture{}, nil
	}
	var c Capture
	if err := json.Unmarshal([]byte(status), &c); err != nil {
		return Capture{}, fmt.Errorf("read annotation %s: %w (the webhook writes it; remove it from the pod's template)", AnnotationStatus, err)
	}
	switch c.Interception {
	case InterceptionInit, InterceptionCNI, InterceptionNone:
		return c, nil
	default:
		return Capture{}, fmt.Errorf("read annotation %s: interception is %q (allowed: %s, %s, %s)",
			AnnotationStatus, c.Interception, InterceptionInit, InterceptionCNI, InterceptionNone)
	}
}
