// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/shuntmesh/shunt/internal/contract"
)

// refusal is why a Service, or one port of it, is not balanced at connect though
// it asks for that.
type refusal struct {
	reason  string // one of refusalReasons, for a metric
	message string // for people
}

// Reasons of refusals.
const (
	badAnnotation  = "annotation"
	isExternalName = "external_name"
	isHeadless     = "headless"
	hasNoTCP       = "no_tcp_port"
	hasAffinity    = "session_affinity"
	staysOnNode    = "internal_traffic_policy"
	hasRequests    = "protocol"
)

func refusalReasons() []string {
	return []string{badAnnotation, isExternalName, isHeadless, hasNoTCP, hasAffinity, staysOnNode, hasRequests}
}

// judgeBalance says which of a Service's TCP ports are balanced at connect, and
// of those that ask for it in vain why. What is chosen in connect(2) is chosen
// once and in sight of nothing but addresses: whatever needs more, the proxy
// does.
func judgeBalance(o *corev1.Service) (ports []uint16, refused []refusal) {
	balance, err := contract.ParseBalance(o.Annotations[contract.AnnotationBalance])
	if err != nil {
		return nil, []refusal{{badAnnotation, err.Error()}}
	}
	if balance != contract.BalanceConnect {
		return nil, nil
	}
	if r := judgeService(o.Spec); r != nil {
		return nil, []refusal{*r}
	}
	for _, p := range o.Spec.Ports {
		if !isTCP(&p.Protocol) {
			continue
		}
		if r := judgePort(p); r != nil {
			refused = append(refused, *r)
			continue
		}
		if number, err := portNumber(p.Port); err == nil { // else service has named it
			ports = append(ports, number)
		}
	}
	return ports, refused
}

// judgeService returns what speaks against all ports of a Service.
func judgeService(s corev1.ServiceSpec) *refusal {
	tcp := func(p corev1.ServicePort) bool { return isTCP(&p.Protocol) }
	switch {
	case s.Type == corev1.ServiceTypeExternalName:
		return refuse(isExternalName, "type is ExternalName (allowed: a Service with a cluster IP)")
	case s.ClusterIP == corev1.ClusterIPNone:
		return refuse(isHeadless, "clusterIP is None: callers choose the endpoint by themselves (allowed: a Service with a cluster IP)")
	case !slices.ContainsFunc(s.Ports, tcp):
		return refuse(hasNoTCP, "no port is TCP")
	case s.SessionAffinity != "" && s.SessionAffinity != corev1.ServiceAffinityNone:
		return refuse(hasAffinity, fmt.Sprintf("sessionAffinity is %s, which nothing in connect(2) remembers (allowed: None)", s.SessionAffinity))
	case s.InternalTrafficPolicy != nil && *s.InternalTrafficPolicy != corev1.ServiceInternalTrafficPolicyCluster:
		return refuse(staysOnNode, fmt.Sprintf("internalTrafficPolicy is %s, and all nodes have the same endpoints (allowed: Cluster)", *s.InternalTrafficPolicy))
	default:
		return nil
	}
}

// judgePort returns what speaks against a port: that its protocol has requests,
// which the proxy balances one by one. An appProtocol (KEP-1422, KEP-3726) says
// so, and without one the port's name.
func judgePort(p corev1.ServicePort) *refusal {
	field, text := "name", p.Name
	if app := deref(p.AppProtocol); app != "" {
		field, text = "appProtocol", app
	}
	if !hasRequestsOf(text) {
		return nil
	}
	return refuse(hasRequests, fmt.Sprintf("port %d: %s is %q, and the proxy balances each request of that (allowed: plain TCP)", p.Port, field, text))
}

// hasRequestsOf reads the protocol in a port's name, such as "grpc-web", or in an
// appProtocol, such as "kubernetes.io/h2c".
func hasRequestsOf(text string) bool {
	_, protocol, prefixed := strings.Cut(strings.ToLower(text), "/")
	if !prefixed {
		protocol = strings.ToLower(text)
	}
	for _, begin := range []string{"http", "grpc", "h2c"} {
		if strings.HasPrefix(protocol, begin) {
			return true
		}
	}
	word, _, _ := strings.Cut(protocol, "-")
	return slices.Contains([]string{"h2", "ws", "wss", "websocket", "tri", "triple"}, word)
}

func refuse(reason, why string) *refusal {
	return &refusal{reason, fmt.Sprintf("annotation %s: %s is not possible: %s", contract.AnnotationBalance, contract.BalanceConnect, why)}
}
