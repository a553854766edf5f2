// SPDX-License-Identifier: Apache-2.0

package cni

import "strings"

// pod is what a runtime says of a pod in CNI_ARGS. It is zero for a container
// that Kubernetes knows nothing of.
type pod struct {
	namespace, name, uid string
}

// podOf reads "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;...".
// What else stands there is not ours to judge.
func podOf(args string) pod {
	var p pod
	for pair := range strings.SplitSeq(args, ";") {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "K8S_POD_NAMESPACE":
			p.namespace = value
		case "K8S_POD_NAME":
			p.name = value
		case "K8S_POD_UID":
			p.uid = value
		}
	}
	return p
}

// String returns "namespace/name".
func (p pod) String() string { return p.namespace + "/" + p.name }
