// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"github.com/shuntmesh/shunt/redirect"
)

// Error codes of this plugin's own; the specification leaves 100 and above to
// each plugin. The others are the specification's: 4 CNI_NETNS or CNI_ARGS, 5
// result not written, 6 stdin not decoded, 7 configuration or annotation not
// possible, 11 try again later, 50 not available (of STATUS).
const (
	CodeRefused   uint = 100 // the kernel, or what the node has of backends, doesn't make the rules
	CodeDifferent uint = 101 // CHECK found other rules than planned
)

// codeNotAvailable is the specification's own, of STATUS (CNI 1.1.0, "Error"): the
// plugin can't serve ADD.
const codeNotAvailable uint = 50

// coded gives an error of a backend its code, and says what to do.
func coded(err error) error {
	var difference *redirect.Difference
	switch {
	case err == nil:
		return nil
	case errors.As(err, &difference):
		return types.NewError(CodeDifferent, err.Error(), "the node agent repairs it; or create the pod anew")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return types.NewError(types.ErrTryAgainLater, err.Error(), "the node may be overloaded")
	default:
		return types.NewError(CodeRefused, err.Error(), "shuntctl node status tells the node's backend; a pod with hostUsers: false needs nftables")
	}
}

// refuseOwn keeps the node's own network from being captured.
func refuseOwn(path string) error {
	var own, pod unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &own); err != nil {
		return types.NewError(types.ErrIOFailure, fmt.Sprintf("find own network namespace: %v", err), "")
	}
	if err := unix.Stat(path, &pod); err != nil {
		return types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("CNI_NETNS: find network namespace %q: %v", path, err), "")
	}
	if own.Dev == pod.Dev && own.Ino == pod.Ino {
		return types.NewError(types.ErrInvalidNetNS, fmt.Sprintf("CNI_NETNS: %q is the node's own network namespace, which is never captured", path), "")
	}
	return nil
}
