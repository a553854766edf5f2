// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"fmt"
	"path"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/shuntmesh/shunt/internal/contract"
)

// initContainer redirects the pod's traffic before anything else that is
// captured runs. It is the one container with capabilities, and it is gone when
// the application starts.
func initContainer(pod *corev1.Pod, f form) corev1.Container {
	security := hardened(0)
	security.RunAsNonRoot = new(false) // beats the pod's own setting
	security.Capabilities.Add = []corev1.Capability{"NET_ADMIN"}
	if f.Capture.Backend == "iptables" {
		security.Capabilities.Add = append(security.Capabilities.Add, "NET_RAW") // for its raw socket
	}
	return corev1.Container{
		Name:                     contract.InitContainer,
		Image:                    f.Options.Image,
		ImagePullPolicy:          f.Options.PullPolicy,
		Command:                  append([]string{"redirect", "apply"}, captureFlags(f.Capture)...),
		Resources:                initResources(),
		SecurityContext:          security,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		VolumeMounts:             noTokenMount(pod),
	}
}

// validateContainer waits until the node captures the pod, and proves it by
// connections of its own. It runs as neither the proxy's uid nor its gid: what
// becomes of the application's connections, only those of others can show.
func validateContainer(pod *corev1.Pod, f form) corev1.Container {
	return corev1.Container{
		Name:                     contract.ValidateContainer,
		Image:                    f.Options.Image,
		ImagePullPolicy:          f.Options.PullPolicy,
		Command:                  validateCommand(f),
		Resources:                initResources(),
		SecurityContext:          hardened(contract.ValidateUID),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		VolumeMounts:             noTokenMount(pod),
	}
}

func validateCommand(f form) []string {
	return append([]string{"redirect", "validate"}, captureFlags(f.Capture)...)
}

// proxyContainer is the sidecar. As a native one (KEP-753) it is ready before
// the user's init containers start, outlives the application, and does not keep
// a Job from ending.
func proxyContainer(pod *corev1.Pod, f form) corev1.Container {
	c := corev1.Container{
		Name:                     contract.ProxyContainer,
		Image:                    f.Options.Image,
		ImagePullPolicy:          f.Options.PullPolicy,
		Command:                  proxyCommand(f),
		Env:                      append(proxyEnv(f), f.Env...),
		Ports:                    []corev1.ContainerPort{{Name: "http-metrics", ContainerPort: contract.PortProxyMetrics, Protocol: corev1.ProtocolTCP}},
		Resources:                proxyResources(f.Requests, f.Limits),
		StartupProbe:             readyProbe(1, startAttempts),
		ReadinessProbe:           readyProbe(5, 3),
		Lifecycle:                lifecycle(f),
		SecurityContext:          hardened(contract.ProxyUID),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		VolumeMounts: append([]corev1.VolumeMount{
			{Name: contract.ProxyVolume, MountPath: path.Dir(contract.AdminSocket)},
			{Name: contract.TokenVolume, MountPath: path.Dir(contract.TokenFile), ReadOnly: true},
		}, noTokenMount(pod)...),
	}
	if f.native {
		c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	}
	return c
}

// startAttempts are of one second each: an image pull elsewhere or a busy node
// must not restart the proxy.
const startAttempts = 600

// proxyCommand runs the proxy. Where the node captures, what the proxy's own uid
// alone can prove comes first: that its connections go past itself.
func proxyCommand(f form) []string {
	if f.byNode() {
		return slices.Concat(validateCommand(f), []string{"--"}, runCommand(f))
	}
	return runCommand(f)
}

func runCommand(f form) []string {
	command := []string{
		"proxy", "run",
		"--discovery-address", f.DiscoveryAddress,
		"--token-file", contract.TokenFile,
		"--admin-socket", contract.AdminSocket,
	}
	if f.LogLevel != "" {
		command = append(command, "--log-level", f.LogLevel)
	}
	if f.Concurrency > 0 {
		command = append(command, "--concurrency", strconv.Itoa(f.Concurrency))
	}
	command = append(command, f.merge.flags()...)
	if f.DrainTimeout > 0 {
		command = append(command, "--drain-timeout", f.DrainTimeout.String())
	}
	if f.Limits.Memory != nil {
		command = append(command, "--memory-limit-bytes", strconv.FormatInt(heapLimit(*f.Limits.Memory), 10))
	}
	return command
}

// lifecycle makes an ordinary container do what a native sidecar does by
// itself: hold the application until the proxy is ready, and outlast it.
func lifecycle(f form) *corev1.Lifecycle {
	exec := func(command ...string) *corev1.LifecycleHandler {
		return &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: command}}
	}
	switch {
	case f.native:
		return &corev1.Lifecycle{PreStop: exec("proxy", "drain")}
	case f.Hold:
		return &corev1.Lifecycle{
			PostStart: exec("proxy", "wait", "--timeout", fmt.Sprintf("%ds", startAttempts)),
			PreStop:   exec("proxy", "drain", "--linger", f.TerminationDelay.String()),
		}
	default:
		return &corev1.Lifecycle{PreStop: exec("proxy", "drain", "--linger", f.TerminationDelay.String())}
	}
}

func proxyEnv(f form) []corev1.EnvVar {
	return []corev1.EnvVar{
		fromField("POD_NAME", "metadata.name"),
		fromField("POD_NAMESPACE", "metadata.namespace"),
		fromField("NODE_NAME", "spec.nodeName"),
		fromField("POD_IPS", "status.podIPs"),
		{Name: contract.EnvDiscoveryCA, Value: f.DiscoveryCA},
	}
}

func fromField(name, field string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: field},
	}}
}

func readyProbe(periodSeconds, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: "/ready",
			Port: intstr.FromInt32(contract.PortReady),
		}},
		PeriodSeconds:    periodSeconds,
		TimeoutSeconds:   1,
		FailureThreshold: failures,
	}
}

// hardened is what Pod Security "restricted" asks for, and a read-only root.
// Each field is spelt out, so that nothing is inherited from the pod.
func hardened(id int64) *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		Privileged:               new(false),
		ReadOnlyRootFilesystem:   new(true),
		RunAsUser:                new(id),
		RunAsGroup:               new(id),
		RunAsNonRoot:             new(true),
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}
