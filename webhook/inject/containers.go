// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"path"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/shuntmesh/shunt/internal/contract"
)

// tokenLife is how long a proxy's token is valid. The kubelet writes a new one
// at 80 % of it; the API server allows nothing below 10 minutes.
const tokenLife = 3600 // seconds

// initContainer redirects the pod's traffic before anything else runs. It is
// the one container with a capability, and it is gone when the app starts.
func initContainer(o Options, flags []string) corev1.Container {
	command := []string{
		"redirect", "apply",
		"-p", strconv.Itoa(contract.PortOutbound),
		"-z", strconv.Itoa(contract.PortInbound),
		"-u", strconv.Itoa(contract.ProxyUID),
		"-m", "REDIRECT",
	}
	security := hardened(0)
	security.RunAsNonRoot = new(false) // beats the pod's own setting
	security.Capabilities.Add = []corev1.Capability{"NET_ADMIN"}
	return corev1.Container{
		Name:                     contract.InitContainer,
		Image:                    o.Image,
		ImagePullPolicy:          o.PullPolicy,
		Command:                  append(command, flags...),
		Resources:                resources("10m", "16Mi", "64Mi"),
		SecurityContext:          security,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
}

// proxyContainer is a native sidecar (KEP-753): it is ready before the user's
// init containers start, outlives the app, and does not keep a Job from ending.
func proxyContainer(o Options) corev1.Container {
	always := corev1.ContainerRestartPolicyAlways
	return corev1.Container{
		Name:            contract.ProxyContainer,
		Image:           o.Image,
		ImagePullPolicy: o.PullPolicy,
		RestartPolicy:   &always,
		Command:         []string{"proxy", "run", "--discovery-address", o.DiscoveryAddress, "--token-file", contract.TokenFile, "--admin-socket", contract.AdminSocket},
		Env:             proxyEnv(o),
		Ports:           []corev1.ContainerPort{{Name: "http-metrics", ContainerPort: contract.PortProxyMetrics, Protocol: corev1.ProtocolTCP}},
		Resources:       resources("10m", "24Mi", "128Mi"),
		StartupProbe:    readyProbe(1, 600), // an image pull elsewhere or a busy node must not restart it
		ReadinessProbe:  readyProbe(5, 3),
		Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{
			Exec: &corev1.ExecAction{Command: []string{"proxy", "drain"}},
		}},
		SecurityContext:          hardened(contract.ProxyUID),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		VolumeMounts: []corev1.VolumeMount{
			{Name: contract.ProxyVolume, MountPath: path.Dir(contract.AdminSocket)},
			{Name: contract.TokenVolume, MountPath: path.Dir(contract.TokenFile), ReadOnly: true},
		},
	}
}

func proxyEnv(o Options) []corev1.EnvVar {
	return []corev1.EnvVar{
		fromField("POD_NAME", "metadata.name"),
		fromField("POD_NAMESPACE", "metadata.namespace"),
		fromField("NODE_NAME", "spec.nodeName"),
		fromField("POD_IPS", "status.podIPs"),
		{Name: contract.EnvDiscoveryCA, Value: o.DiscoveryCA},
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

// resources sets no CPU limit: throttling a proxy adds its stalls to every call.
func resources(cpu, memory, memoryLimit string) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse(cpu),
			corev1.ResourceMemory: resource.MustParse(memory),
		},
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(memoryLimit)},
	}
}

// volumes are the proxy's. An emptyDir in memory does not count as local
// storage for the cluster autoscaler, so it doesn't pin the pod to its node.
func volumes() []corev1.Volume {
	size := resource.MustParse("1Mi") // it holds one socket
	return []corev1.Volume{
		{Name: contract.ProxyVolume, VolumeSource: corev1.VolumeSource{
			EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: &size},
		}},
		{Name: contract.TokenVolume, VolumeSource: corev1.VolumeSource{
			Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{
				ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
					Audience:          contract.DiscoveryAudience,
					ExpirationSeconds: new(int64(tokenLife)),
					Path:              path.Base(contract.TokenFile),
				},
			}}},
		}},
	}
}
