// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/shuntmesh/shunt/internal/contract"
)

const (
	beforeNamespace = "shunt-demo-before"
	afterNamespace  = "shunt-demo"
	demoLabel       = "shunt.dev/demo" // on the namespaces that the demo may delete
	port            = 50051
)

// namespace is ours to delete; injected turns the mesh on.
func namespace(name string, injected bool) *corev1.Namespace {
	labels := map[string]string{demoLabel: "true"}
	if injected {
		labels[contract.LabelInject] = contract.InjectEnabled
	}
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

// serverDeployment is what an application's author would write: the rollout
// strategy is the default, and the port's name says nothing about its protocol.
func serverDeployment(name, image string, replicas int32, args ...string) *appsv1.Deployment {
	labels := appLabels(name)
	container := appContainer("server", image, append([]string{"server", fmt.Sprintf("--listen=:%d", port)}, args...))
	container.Ports = []corev1.ContainerPort{{Name: "app", ContainerPort: port}}
	container.ReadinessProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: port}},
		PeriodSeconds: 1,
	}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{container}},
			},
		},
	}
}

func service(name string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: appLabels(name)},
		Spec: corev1.ServiceSpec{
			Selector: appLabels(name),
			Ports:    []corev1.ServicePort{{Name: "app", Port: port, TargetPort: intstr.FromString("app")}},
		},
	}
}

// clientPod calls server. It never restarts: a client that ends has failed.
func clientPod(name, image, server string, callers int, rate float64) *corev1.Pod {
	args := []string{
		"client", fmt.Sprintf("--target=dns:///%s:%d", server, port),
		fmt.Sprintf("--callers=%d", callers), fmt.Sprintf("--rate=%g", rate),
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: appLabels(name)},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: new(int64(10)),
			Containers:                    []corev1.Container{appContainer("client", image, args)},
		},
	}
}

func appContainer(name, image string, args []string) corev1.Container {
	return corev1.Container{
		Name:            name,
		Image:           image,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Command:         []string{"demo"},
		Args:            args,
		Env: []corev1.EnvVar{{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"},
		}}},
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi"),
		}},
	}
}

func appLabels(name string) map[string]string {
	return maps.Clone(map[string]string{"app.kubernetes.io/name": name})
}
