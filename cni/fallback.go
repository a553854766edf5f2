// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/shuntmesh/shunt/internal/contract"
)

// How long the agent is asked where the runtime hands over no annotations. An
// agent that starts anew is back within seconds, and a pod that was just bound
// to the node may take the agent a moment to hear of; kubelet asks again after
// some ten seconds.
const (
	askTimeout = 2 * time.Second
	askPause   = 50 * time.Millisecond
)

// annotationsOf asks the agent for a pod's annotations. Without its answer
// nobody can tell whether the pod is injected, and none is passed on that could
// be. Some can't be, and start also where there is no agent, so that a node
// without one can come up: those of the namespaces that the webhook never
// injects, among them the mesh's own, and containers that are no pod's.
func annotationsOf(who pod, socket string) (map[string]string, error) {
	switch {
	case who == pod{}, slices.Contains(contract.SystemNamespaces(), who.namespace):
		return nil, nil
	case who.namespace == "" || who.name == "":
		return nil, types.NewError(types.ErrInvalidEnvironmentVariables, fmt.Sprintf("CNI_ARGS: K8S_POD_NAMESPACE or K8S_POD_NAME is missing of pod %s", who),
			"the runtime hands over no annotations, so the node agent must be asked for them")
	case socket == "":
		return nil, types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("find annotations of pod %s: the runtime hands over none, and the CNI configuration names no socket of the node agent", who), "")
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	var why error
	for {
		annotations, err := ask(ctx, who, socket)
		if err == nil {
			return annotations, nil
		}
		if timeout := net.Error(nil); why == nil || !errors.As(err, &timeout) || !timeout.Timeout() {
			why = err // that our own time is over says nothing
		}
		select {
		case <-time.After(askPause):
		case <-ctx.Done():
			return nil, types.NewError(types.ErrTryAgainLater, fmt.Sprintf("find annotations of pod %s: the runtime hands over none, and the node agent can't tell: %v", who, why),
				"is the pod of DaemonSet "+contract.SystemNamespace+"/"+contract.NodeDaemonSet+" ready on this node?")
		}
	}
}

// ask asks once.
func ask(ctx context.Context, who pod, socket string) (map[string]string, error) {
	query := url.Values{"uid": {who.uid}, "namespace": {who.namespace}, "name": {who.name}}
	status, body, err := request(ctx, socket, "GET /v1/pod?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	switch status {
	case 200:
	case 404:
		return nil, errors.New("it knows no such pod")
	default:
		return nil, fmt.Errorf("it answers with status %d", status)
	}
	var answer struct {
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("read its answer: %w", err)
	}
	if answer.Annotations == nil {
		return nil, errors.New("read its answer: annotations are missing")
	}
	return answer.Annotations, nil
}
